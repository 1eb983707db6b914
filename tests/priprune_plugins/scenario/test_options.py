from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import pytest
from pydantic import AfterValidator

from priprune_plugins import Count, PluginError, Rate, ScenarioError
from priprune_plugins.scenario import Selection, read_scenario
from priprune_plugins.scenario.options import build_plugin, resolved
from priprune_plugins.scenario.writing import dump_yaml

Write = Callable[..., Path]


def even(value: int) -> int:
    if value % 2:
        raise ValueError("must be even")
    return value


@dataclass(frozen=True)
class Inner:
    depth: Count = 1


@dataclass(frozen=True, eq=False)
class Plugin:
    kind: ClassVar[str] = "x"
    rate: Rate = 0.3
    mode: Literal["fast", "slow"] = "fast"
    sizes: tuple[Count, ...] = (1, 2)
    twice: Annotated[int, AfterValidator(even)] = 2
    inner: Inner = Inner()
    flag: bool = False
    path: Path | None = None
    anything: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.flag and self.mode == "slow":
            raise ScenarioError("plugin: flag needs mode fast")
        if self.rate == 0.5:
            raise ValueError("a half is unlucky")


def selection(**options: Any) -> Selection:
    places = {f"pruner.{key}": f"a.yaml:{line}" for line, key in enumerate(options, start=2)}
    return Selection("pruners", "plugin", options, "pruner", {"pruner": "a.yaml:1", **places})


def test_options_arrive_as_their_types() -> None:
    built = build_plugin(selection(rate=0, sizes=[3, 4], path="x/y", inner={"depth": 2}, anything={"a": [1]}), Plugin)
    assert (built.rate, built.sizes, built.path, built.inner) == (0.0, (3, 4), Path("x/y"), Inner(2))
    assert type(built.rate) is float and built.anything == {"a": [1]}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rate": 1.5}, "a.yaml:2: pruner.rate must be in [0, 1), got 1.5"),
        ({"rate": "0.5"}, "a.yaml:2: pruner.rate must be a number in [0, 1), got '0.5'"),
        ({"rate": True}, "a.yaml:2: pruner.rate must be a number in [0, 1), got true"),
        ({"rate": None}, "a.yaml:2: pruner.rate must be a number in [0, 1), got null"),
        ({"rate": float("nan")}, "a.yaml:2: pruner.rate must be finite, got nan"),
        ({"anything": {"a": [float("inf")]}}, "a.yaml:2: pruner.anything must be finite"),
        (
            {"ratee": 1},
            "a.yaml:2: pruner.ratee is unknown; did you mean 'rate'? pruner plugin takes anything, flag, inner",
        ),
        ({"kind": "y"}, "a.yaml:2: pruner.kind is unknown"),
        ({"mode": "fats"}, "a.yaml:2: pruner.mode must be fast or slow, got 'fats'; did you mean 'fast'?"),
        ({"sizes": 3}, "a.yaml:2: pruner.sizes must be a list, each a whole number of at least 1, got 3"),
        ({"sizes": [1, 0]}, "a.yaml:2: pruner.sizes must be a list, each a whole number of at least 1, got [1, 0]"),
        ({"flag": "no"}, "a.yaml:2: pruner.flag must be true or false, got 'no'"),
        ({"twice": 3}, "a.yaml:2: pruner.twice: must be even, got 3"),
        ({"inner": {"deep": 3}}, "a.yaml:2: pruner.inner.deep is unknown"),
        ({"flag": True, "mode": "slow"}, "a.yaml:1: plugin: flag needs mode fast"),
        ({"rate": 0.5}, "a.yaml:1: pruner: a half is unlucky"),
    ],
)
def test_a_wrong_option_is_one_line_with_its_place(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        build_plugin(selection(**options), Plugin)
    assert str(caught.value).startswith(message), str(caught.value)


def test_an_option_without_default_must_be_given() -> None:
    @dataclass(frozen=True, eq=False)
    class Needy:
        path: str

    with pytest.raises(ScenarioError, match=r"a\.yaml:1: pruner\.path is missing; pruner plugin needs it"):
        build_plugin(selection(), Needy)


def test_a_class_that_no_scenario_can_configure_is_the_plugins_fault() -> None:
    class Bare:
        pass

    @dataclass(frozen=True, eq=False)
    class Odd:
        odd: type[int] | object = int
        opaque: Selection | memoryview | None = None

    @dataclass(frozen=True, eq=False)
    class Taken:
        clients: int = 3

    with pytest.raises(PluginError, match="Bare must be a dataclass"):
        build_plugin(selection(), Bare)
    with pytest.raises(PluginError, match="which no YAML value can be"):
        build_plugin(selection(opaque=3), Odd)
    with pytest.raises(PluginError, match="option 'clients' is a key of the scenario itself"):
        build_plugin(Selection("datasets", "taken", {}, "data"), Taken)


MODULE = """
from dataclasses import dataclass
from priprune_plugins import Rate

@dataclass(frozen=True, eq=False)
class Any:
    rate: Rate = 0.25
    words: tuple[str, ...] = ("010", "no", "1e-3", "null", "a: b", "")
    tiny: float = 1e-07
"""


def test_a_resolved_scenario_reads_back_as_itself(write: Write, right: str, tmp_path: Path) -> None:
    write(MODULE, "resolved_plugins.py")
    path = write(right.replace("name: random\n  rate: 0.3", "name: resolved_plugins:Any"))
    scenario = read_scenario(path)
    plugins = [_stand_in(chosen) for chosen in scenario.selections()]
    document = resolved(scenario, plugins)
    assert document["pruner"]["rate"] == 0.25 and document["aggregation"]["weighting"] == "samples"
    (tmp_path / "run").mkdir()
    again = read_scenario(write(dump_yaml(document), "run/scenario.yaml"))
    given = replace(again, source=scenario.source)
    assert replace(given, pruner=None, dataset=scenario.dataset, attacks=scenario.attacks) == replace(
        scenario, pruner=None
    )
    replugged = [_stand_in(chosen) for chosen in again.selections()]
    assert resolved(again, replugged) == document | {"modules": [str(tmp_path / "run"), str(tmp_path)]}


def _stand_in(chosen: Selection) -> object:
    from priprune_plugins.catalogue import load_class

    if chosen.kind == "pruners":
        return build_plugin(chosen, load_class(chosen))

    @dataclass(frozen=True, eq=False)
    class Digits:
        size: int = 28

    @dataclass(frozen=True, eq=False)
    class GI:
        iterations: int = 300

    @dataclass(frozen=True, eq=False)
    class Nothing:
        pass

    cls = {"datasets": Digits, "attacks": GI}.get(chosen.kind, Nothing)
    return build_plugin(chosen, cls)
