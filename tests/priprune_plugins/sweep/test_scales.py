from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.sweep import read_sweep
from priprune_plugins.sweep.points import points, scenario_at
from priprune_plugins.sweep.schema import schema

Write = Callable[..., Path]
SCALED = """\
grid: {pruner.rate: [0.1, 0.3, 0.9], seed: [1, 2]}
exclude: [{pruner.rate: 0.3, seed: 2}]
scales:
  smoke:
    base: {rounds: 9, model: {name: mini}}
    grid: {seed: [7]}
    exclude: []
    threads: 2
  tiny: {base: {audit: {victims: 2}}, grid: {pruner.rate: [0.5]}, exclude: []}
"""


def test_a_scale_replaces_what_it_names_and_keeps_the_rest(write: Write) -> None:
    sweep = read_sweep(write(SCALED), ["scale=smoke"])
    assert [point.name for point in points(sweep)] == ["rate-0.1_seed-7", "rate-0.3_seed-7", "rate-0.9_seed-7"]
    scenario = scenario_at(sweep, points(sweep)[0])
    assert (scenario.rounds, scenario.architecture.name, scenario.data.clients) == (9, "mini", 6)
    assert (sweep.name, sweep.threads) == ("small-smoke", 2)


def test_without_a_scale_the_sweep_is_what_it_says(write: Write) -> None:
    sweep = read_sweep(write(SCALED))
    assert (sweep.name, sweep.threads, len(points(sweep))) == ("small", 1, 5)


def test_other_overrides_win_over_the_scale(write: Write) -> None:
    sweep = read_sweep(write(SCALED), ["rounds=4", "scale=tiny", "audit.rounds=[3]"])
    scenario = scenario_at(sweep, points(sweep)[0])
    assert (scenario.rounds, scenario.audit and scenario.audit.victims) == (4, 2)


@pytest.mark.parametrize(
    ("rest", "scale", "message"),
    [
        (SCALED, "smoek", "--set scale: no scale 'smoek'; did you mean 'smoke'? there are smoke, tiny"),
        ("grid: {seed: [1]}\n", "smoke", "--set scale: no scale 'smoke'; the sweep has no scales; leave it out"),
        ("grid: {seed: [1]}\nscales: smoke\n", None, "small.yaml:13: scales must be a mapping, got 'smoke'"),
        (
            "grid: {seed: [1]}\nscales:\n  smoke: {gird: {seed: [1]}}\n",
            None,
            "small.yaml:14: scales.smoke.gird is unknown; did you mean 'grid'? a scale takes base, ",
        ),
        (
            "grid: {seed: [1]}\nscales:\n  a b: {threads: 1}\n",
            None,
            "small.yaml:14: scales.a b: a scale's name must be a plain name of A-Z a-z 0-9 . _ -",
        ),
        (
            "grid: {seed: [1]}\nscales:\n  smoke: {grid: {seed: []}}\n",
            "smoke",
            "small.yaml:14: seed has no value; give at least one, or remove it",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line_with_its_place(
    write: Write, rest: str, scale: str | None, message: str
) -> None:
    with pytest.raises(ScenarioError) as raised:
        read_sweep(write(rest), [] if scale is None else [f"scale={scale}"])
    assert message in str(raised.value) and "\n" not in str(raised.value)


def test_a_scale_s_base_need_not_be_whole() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    data = {"name": "digits", "clients": 6}
    algorithm = {"name": "fedavg"}
    base = {"rounds": 2, "data": data, "model": {"name": "mini"}, "algorithm": algorithm}
    sweep = {"base": base, "grid": {"seed": [1]}, "scales": {"smoke": {"base": {"rounds": 1}}}}
    validator = jsonschema.Draft202012Validator(schema())
    assert [error.message for error in validator.iter_errors(sweep)] == []
    assert not validator.is_valid({**sweep, "scales": {"smoke": {"gird": {}}}})
