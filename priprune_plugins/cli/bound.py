"""``priprune bound``: checks the arguments, evaluates, prints a table or JSON."""

import argparse
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from priprune_plugins.bounds.document import Point, document
from priprune_plugins.bounds.theorem import GradientLaw, PruneFLCounts
from priprune_plugins.cli.bound_table import print_bounds
from priprune_plugins.errors import ScenarioError

_LAW = ("rate", "batch_size", "d_star", "delta")
_COUNTS = ("never_pruned", "remaining", "parameters")
_GAUSSIAN = ("width", "inputs", "sigma_a")
_NOISE = ("noise_scale", "constant", "delta_dp", "epsilon_ap", "delta_ap")
_OF_RUN = ("images", "samples", "tolerance", "layer")
_RANGES: Mapping[str, tuple[float, float, str]] = {
    "rate": (0.0, math.nextafter(1.0, 0.0), "in [0, 1)"),
    "batch_size": (1, math.inf, "at least 1"),
    "d_star": (0, math.inf, "at least 0"),
    "delta": (-math.inf, math.inf, "a number of bits"),
    "rounds": (1, math.inf, "at least 1"),
    "never_pruned": (0, math.inf, "at least 0"),
    "remaining": (0, math.inf, "at least 0"),
    "parameters": (1, math.inf, "at least 1"),
    "samples": (2, math.inf, "at least 2"),
    "tolerance": (0.0, math.nextafter(1.0, 0.0), "in [0, 1)"),
    "width": (1, math.inf, "at least 1"),
    "inputs": (1, math.inf, "at least 1"),
    "sigma_a": (math.ulp(0.0), math.inf, "above 0"),
    "noise_scale": (math.ulp(0.0), math.inf, "above 0"),
    "constant": (math.ulp(0.0), math.inf, "above 0"),
    "delta_dp": (math.ulp(0.0), 1.0, "in (0, 1]"),
    "epsilon_ap": (math.ulp(0.0), math.inf, "above 0"),
    "delta_ap": (0.0, 1.0, "in [0, 1]"),
}


def bound(arguments: argparse.Namespace) -> None:
    """Evaluate the bounds that the arguments ask for and print them.

    Raises:
        ScenarioError: An argument is out of range, missing, or goes with the other way of asking.
    """
    given = {name: value for name, value in vars(arguments).items() if value is not None}
    _check_ranges(given)
    content = _from_options(given) if arguments.run is None else _from_run(given)
    if arguments.json:
        print(json.dumps(content, indent=2))
        return
    print_bounds(content)


def _check_ranges(given: Mapping[str, Any]) -> None:
    for name, (low, high, words) in _RANGES.items():
        value = given.get(name)
        if value is not None and not (low <= value <= high and math.isfinite(value)):
            raise ScenarioError(f"{_option(name)} must be {words}, got {value}")


def _from_run(given: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(given, (*_LAW, "rounds", *_COUNTS, *_GAUSSIAN), "a run folder gives that itself: leave it out")
    from priprune_plugins.bounds.of_run import RunOptions, bound_run
    from priprune_plugins.bounds.pruning_noise import NoiseOptions

    options = {name: given[name] for name in _OF_RUN if name in given}
    content = bound_run(given["run"], RunOptions(**options, noise=NoiseOptions(**_noise(given))))
    if (given["run"] / "summary.json").is_file():
        from priprune_plugins.report import write_report

        write_report(given["run"])
    return content


def _from_options(given: Mapping[str, Any]) -> dict[str, Any]:
    _refuse(given, _OF_RUN, "it is for a run folder: give one")
    layer = any(name in given for name in _GAUSSIAN)
    theorem_1 = any(name in given for name in ("batch_size", "d_star", "delta", "rounds", *_COUNTS))
    if theorem_1 or not layer:
        _require(given, _LAW, "or a run folder, which measures them")
    counts = None
    if any(name in given for name in _COUNTS):
        _require(given, _COUNTS, "for Equation 23")
        counts = PruneFLCounts(*(given[name] for name in _COUNTS))
        if counts.never_pruned + counts.remaining > counts.parameters:
            raise ScenarioError("--never-pruned and --remaining are more than --parameters: the two sets are disjoint")
    content: dict[str, Any] = {"points": [], "warnings": []}
    if "d_star" in given:
        law = GradientLaw(given["d_star"], given["delta"])
        point = Point(given["rate"], given["batch_size"], law, given.get("rounds"), counts)
        content = document([point], {"given": {name: given[name] for name in _LAW}})
    return {**content, "theorem_4_2": _gaussian_noise(given) if layer else None}


def _gaussian_noise(given: Mapping[str, Any]) -> dict[str, Any]:
    _require(given, (*_GAUSSIAN, "rate"), "for Theorem 4.2")
    from priprune_plugins.bounds.pruning_noise import NoiseOptions, gaussian_layer, pruning_noise
    from priprune_plugins.generators import generator

    options = NoiseOptions(**_noise(given))
    width, inputs, sigma_a = (given[name] for name in _GAUSSIAN)
    weight = gaussian_layer(width, inputs, sigma_a, generator(given["seed"], "bound", "weights"))
    measured = pruning_noise(weight, None, given["rate"], options, generator(given["seed"], "bound", "noise"))
    return {"layer": "Gaussian weights, no bias", **asdict(options), "measured": asdict(measured)}


def _noise(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: given[name] for name in _NOISE if name in given}


def _refuse(given: Mapping[str, Any], names: tuple[str, ...], why: str) -> None:
    wrong = [name for name in names if name in given]
    if wrong:
        raise ScenarioError(f"{_option(wrong[0])}: {why}")


def _require(given: Mapping[str, Any], names: tuple[str, ...], what: str) -> None:
    missing = [_option(name) for name in names if name not in given]
    if missing:
        raise ScenarioError(f"missing {', '.join(missing)}: give {', '.join(map(_option, names))}, {what}")


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
