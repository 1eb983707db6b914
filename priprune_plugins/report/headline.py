"""What was run, in one sentence, and the few figures that a reader looks for first."""

from collections.abc import Mapping, Sequence
from typing import Any

from priprune_plugins.report import numbers
from priprune_plugins.report.run_files import RunFiles


def sentence(run: RunFiles) -> str:
    """Return what was run: algorithm, data, clients, model, pruner, defences, attacks."""
    scenario, summary = run.scenario, run.summary
    if not scenario:
        return "The scenario of this run is not known."
    parts = [
        f"{_name(scenario, 'algorithm')} for {numbers.count(summary.get('rounds', scenario.get('rounds')))} rounds",
        f"over {numbers.count(summary.get('clients'))} clients of {_name(scenario, 'data')}",
        f"with {_name(scenario, 'model')} ({numbers.count(summary.get('parameters'))} parameters);",
        f"pruner {_plugin(scenario.get('pruner'))};",
        f"defence {_listed(scenario.get('defenses'))};",
        f"attacked by {_listed(scenario.get('attacks'))}.",
    ]
    return " ".join(parts)


def tiles(run: RunFiles) -> list[tuple[str, str, str]]:
    """Return ``(name, value, remark)`` of the figures at the head of the page."""
    s = run.summary
    seconds = s.get("seconds") or sum(line.get("seconds") or 0 for line in run.timing)
    peak = max((line.get("peak_rss_bytes") or 0 for line in run.timing), default=0)
    return [
        ("Accuracy", numbers.share(s.get("accuracy")), f"clients' own tests {numbers.share(s.get('client_accuracy'))}"),
        ("Density", numbers.share(s.get("density")), "kept of the prunable weights"),
        ("Withheld", numbers.share(s.get("withheld_rate")), "of the coordinates that the mask leaves"),
        ("Gradient mass withheld", numbers.share(s.get("gradient_mass_withheld")), "its share of the L1 norm"),
        ("Uploaded", numbers.size(s.get("bytes_up")), f"downloaded {numbers.size(s.get('bytes_down'))}"),
        ("Time", numbers.duration(seconds), f"{s.get('device', 'device unknown')}, peak {numbers.size(peak or None)}"),
    ]


def versions(run: RunFiles) -> list[tuple[str, str]]:
    """Return names and versions of what the run was made with, nested names joined by dots."""
    return versions_of(run.environment)


def versions_of(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the names and versions of an ``environment.json``."""
    return [
        (name.removeprefix("environment.").removeprefix("packages."), value) for name, value in _flat(environment, "")
    ]


def warnings(run: RunFiles) -> list[str]:
    """Return the run's own warnings."""
    given = run.summary.get("warnings") or []
    return [str(warning) for warning in given] if isinstance(given, list) else [str(given)]


def unfinished(run: RunFiles) -> list[str]:
    """Return one sentence per attack that has uploads left to do."""
    left = run.summary.get("unfinished")
    return [
        f"{name}: {numbers.count(uploads)} uploads are not attacked yet; to go on: priprune attack {run.folder}"
        for name, uploads in (left.items() if isinstance(left, dict) else ())
    ]


def _flat(value: Any, path: str) -> Sequence[tuple[str, str]]:
    if isinstance(value, Mapping) and "plugin" in value:
        rest = {key: item for key, item in value.items() if key != "plugin"}
        return [(str(value["plugin"]), ", ".join(f"{key} {item}" for key, item in rest.items()))]
    if isinstance(value, Mapping):
        return [row for key, item in value.items() for row in _flat(item, f"{path}.{key}" if path else str(key))]
    if isinstance(value, list):
        return [row for item in value for row in _flat(item, path)]
    return [(path, str(value))]


def _name(scenario: Mapping[str, Any], key: str) -> str:
    section = scenario.get(key)
    return str(section.get("name", numbers.NONE)) if isinstance(section, Mapping) else numbers.NONE


def _plugin(section: Any) -> str:
    if not isinstance(section, Mapping):
        return "none"
    rate = section.get("rate")
    return f"{section.get('name')}" + (f" at rate {rate}" if rate is not None else "")


def _listed(sections: Any) -> str:
    plugins = [_plugin(section) for section in sections] if isinstance(sections, list) else []
    return ", ".join(plugins[:-1]) + (" and " if len(plugins) > 1 else "") + plugins[-1] if plugins else "none"
