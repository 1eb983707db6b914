"""What a report reads: the files of one run folder, each of them optional but for the folder itself."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from priprune_plugins.errors import ScenarioError

Record = dict[str, Any]
_WITHOUT = {
    "scenario.yaml": "what was run is not known",
    "environment.json": "versions are not known",
    "rounds.jsonl": "no curves of the training",
    "timing.jsonl": "no times",
    "privacy.jsonl": "no attack was measured",
    "summary.json": "the run did not finish, or was stopped",
}


@dataclass(frozen=True)
class RunFiles:
    """The files of a run folder as values, empty where a file is absent.

    Args:
        folder: The run folder.
        scenario_text: ``scenario.yaml`` as it stands.
        scenario: The same, parsed.
        environment: ``environment.json``.
        rounds: Lines of ``rounds.jsonl``.
        timing: Lines of ``timing.jsonl``.
        privacy: Lines of ``privacy.jsonl``.
        summary: ``summary.json``.
        notes: One sentence per file that is absent or damaged.
    """

    folder: Path
    scenario_text: str
    scenario: Mapping[str, Any]
    environment: Mapping[str, Any]
    rounds: list[Record]
    timing: list[Record]
    privacy: list[Record]
    summary: Mapping[str, Any]
    notes: list[str]


def read_run(folder: Path) -> RunFiles:
    """Return the files of a run folder; what is absent or damaged is named in ``notes``.

    Raises:
        ScenarioError: The folder is none, or holds no file of a run.
    """
    if not any((folder / name).is_file() for name in _WITHOUT):
        raise ScenarioError(
            f"{folder} is no run folder: none of {', '.join(_WITHOUT)} is there; give a folder under runs/"
        )
    notes = [f"{name} is missing: {what}." for name, what in _WITHOUT.items() if not (folder / name).is_file()]
    text = _text(folder / "scenario.yaml")
    return RunFiles(
        folder=folder,
        scenario_text=text,
        scenario=_yaml(text, notes),
        environment=json_object(folder / "environment.json", notes),
        rounds=json_lines(folder / "rounds.jsonl", notes, ("round",)),
        timing=json_lines(folder / "timing.jsonl", notes, ("round",)),
        privacy=json_lines(folder / "privacy.jsonl", notes, ("attack", "round", "group")),
        summary=json_object(folder / "summary.json", notes),
        notes=notes,
    )


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""


def _yaml(text: str, notes: list[str]) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError:
        notes.append("scenario.yaml cannot be parsed; it is printed as it stands.")
        return {}
    return document if isinstance(document, dict) else {}


def json_object(path: Path, notes: list[str]) -> Mapping[str, Any]:
    """Return a JSON file's object; empty where it is absent, and where it is damaged, which goes to ``notes``."""
    try:
        value = json.loads(_text(path) or "{}")
    except json.JSONDecodeError:
        notes.append(f"{path.name} is damaged and was left out.")
        return {}
    return value if isinstance(value, dict) else {}


def json_lines(path: Path, notes: list[str], keys: tuple[str, ...]) -> list[Record]:
    """Return the records of a JSON-lines file that hold all ``keys``; how many do not goes to ``notes``."""
    records, damaged = [], 0
    for line in _text(path).splitlines():
        record = _record(line, keys)
        if record is None:
            damaged += 1
        else:
            records.append(record)
    if damaged:
        notes.append(f"{damaged} damaged lines of {path.name} were left out.")
    return records


def _record(line: str, keys: tuple[str, ...]) -> Record | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    return record if isinstance(record, dict) and all(key in record for key in keys) else None
