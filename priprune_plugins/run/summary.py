"""summary.json: the final figures of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from priprune_plugins.privacy.order import worst_first
from priprune_plugins.privacy.summary import summarise
from priprune_plugins.run.assemble import World
from priprune_plugins.run.attack_files import unfinished
from priprune_plugins.run.folder import read_lines
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.federation import Federation


def base_summary(
    scenario: Scenario,
    world: World,
    federation: Federation,
    records: Sequence[Mapping[str, Any]],
    warnings: Sequence[str],
) -> dict[str, Any]:
    """Return the figures of the training; means over all rounds where the last round alone would mislead.

    Args:
        scenario: The scenario.
        world: Data and device.
        federation: The federation after the last round.
        records: One record a round.
        warnings: What went wrong without stopping the run.
    """
    last = records[-1]
    return {
        "name": scenario.name,
        "accuracy": last["accuracy"],
        "client_accuracy": None,
        "rounds": scenario.rounds,
        "clients": world.data.num_clients,
        "parameters": world.facts.layout.num_parameters,
        "density": last["density"],
        "prunable_layers": list(federation.meter.names),
        "withheld_rate": _mean(records, "withheld_rate"),
        "gradient_mass_withheld": _mean(records, "gradient_mass_withheld"),
        "bytes_up": sum(record["bytes_up"] for record in records),
        "bytes_down": sum(record["bytes_down"] for record in records),
        "dropped": sum(record["dropped"] for record in records),
        "claims": _claims(records),
        "device": str(world.device),
        "seconds": 0.0,
        "warnings": list(warnings),
        "attacks": {},
        "unfinished": {},
    }


def with_attacks(summary: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return the summary with every attack that privacy.jsonl has lines of, worst case first.

    ``unfinished`` holds by attack how many captures it has still to do, and is empty in a whole run.
    """
    attacks = worst_first(summarise(read_lines(folder / "privacy.jsonl")))
    return {**summary, "attacks": attacks, "unfinished": unfinished(folder)}


def _claims(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the last value of each entry that a defence added to the rounds' records."""
    return {name: record[name] for record in records for name in record.get("claims", ())}


def _mean(records: Sequence[Mapping[str, Any]], name: str) -> float | None:
    values = [record[name] for record in records if record[name] is not None]
    return sum(values) / len(values) if values else None
