import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.overrides import overridden
from priprune_plugins.scenario.yaml_reader import parse_yaml


def node() -> Node:
    return parse_yaml("seed: 1\npruner: {name: random, rate: 0.3}\nattacks: [{name: gi}]\n", "a.yaml")


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("seed=2", "seed", 2),
        ("pruner.rate=1e-2", "pruner", {"name": "random", "rate": 0.01}),
        ("pruner={name: snip}", "pruner", {"name": "snip"}),
        ("pruner=", "pruner", None),
        ("audit.victims=3", "audit", {"victims": 3}),
        ("attacks[0].tv=[0.1, 1]", "attacks", [{"name": "gi", "tv": [0.1, 1]}]),
        ("attacks[1].name=sgi", "attacks", [{"name": "gi"}, {"name": "sgi"}]),
        ("name=a=b", "name", "a=b"),
    ],
)
def test_an_override_replaces_or_adds_one_value(override: str, key: str, value: object) -> None:
    assert overridden(node(), [override]).plain()[key] == value


def test_later_overrides_win() -> None:
    assert overridden(node(), ["seed=2", "seed=3"]).plain()["seed"] == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("seed", "--set must be path=value, got 'seed'"),
        ("=1", "--set '': write a path"),
        ("a..b=1", "--set 'a..b': write a path"),
        ("[0]=1", r"--set '\[0\]': write a path"),
        ("seed.x=1", "--set seed.x: seed is no mapping, got 1"),
        ("pruner[0]=1", r"--set pruner\[0\]: pruner is no list"),
        ("attacks[2].name=x", r"--set attacks\[2\].name: attacks has 1 entries, got \[2\]"),
        ("seed=[1", "--set seed: wrong YAML"),
        ("seed=.nan", "--set seed: a number must be finite"),
        ("include=b.yaml", "--set include: a scenario includes others in its file only"),
    ],
)
def test_a_wrong_override_is_named(override: str, message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        overridden(node(), [override])
