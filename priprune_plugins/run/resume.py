"""May a run folder be gone on with, and what in it is newer than its checkpoint."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.includes import read_with_includes
from priprune_plugins.scenario.sections_reader import HOST_KEYS
from priprune_plugins.wording import shown

# What the figures do not depend on may change from one part of a run to the next.
_FREE = ("checkpoint", "states", "network", "modules")
_ABSENT = object()
APPENDED = ("rounds.jsonl", "timing.jsonl")
_AFTER_TRAINING = ("privacy.jsonl", "summary.json", "report.html")
_FOLDERS_AFTER_TRAINING = ("reconstructions", "attackers", "cache")
_OF_A_ROUND = re.compile(r"r(\d+)[._]")


def refuse_other_scenario(folder: Path, document: Mapping[str, Any]) -> None:
    """Refuse to go on with a folder of another scenario.

    Args:
        folder: An existing folder; one that holds nothing yet is nobody's.
        document: The resolved scenario, as YAML has it.

    Raises:
        ScenarioError: It is no run folder, or a key differs.
    """
    path = folder / "scenario.yaml"
    if not path.is_file():
        if any(not entry.name.endswith(".part") for entry in folder.iterdir()):
            raise ScenarioError(f"{folder} is no run folder: it has no scenario.yaml; give another --out")
        return
    before = read_with_includes(path, HOST_KEYS)[0].plain()
    then, now = (_leaves({k: v for k, v in found.items() if k not in _FREE}) for found in (before, document))
    different = [key for key in {*then, *now} if then.get(key, _ABSENT) != now.get(key, _ABSENT)]
    if different:
        key = min(different, key=lambda key: (key.count("."), not key.endswith("name"), key))
        raise ScenarioError(
            f"{folder} was made {_with(then, key)}, the scenario is now {_with(now, key)}: go on with the scenario as "
            "it was, or give another --out"
        )


def _with(leaves: Mapping[str, Any], key: str) -> str:
    return f"with {key} = {shown(leaves[key])}" if key in leaves else f"without {key}"


def _leaves(value: Any, path: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        items = [(f"{path}.{key}" if path else str(key), item) for key, item in value.items()]
    elif isinstance(value, list | tuple) and all(isinstance(item, Mapping) for item in value):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    else:
        return {path: list(value) if isinstance(value, tuple) else value}
    return {leaf: found for key, item in items for leaf, found in _leaves(item, key).items()}


def changed_versions(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one line per package or plugin file that is another one than when the run began.

    Args:
        before: ``environment.json`` of the folder.
        now: The same of this process.
    """
    old, new = _versions(before), _versions(now)
    return [
        f"{name} was {old.get(name, 'absent')} when the run began and is {new.get(name, 'absent')} now: its rounds may "
        "differ from those of one uninterrupted run"
        for name in sorted({*old, *new})
        if old.get(name) != new.get(name)
    ]


def _versions(made_with: Mapping[str, Any]) -> dict[str, str]:
    environment = made_with.get("environment", {})
    packages = dict(environment.get("packages", {})) | {"device": environment.get("device", "absent")}
    plugins = {entry["plugin"]: f"{entry['version']} ({entry['sha256'][:8]})" for entry in made_with.get("plugins", ())}
    return packages | plugins


def cut_back(folder: Path, next_round: int, sizes: Mapping[str, int]) -> None:
    """Remove from a run folder all that rounds from ``next_round`` on, and what came after the training, have left.

    Args:
        folder: The run folder.
        next_round: The first round that will be run again.
        sizes: Length in bytes of rounds.jsonl and timing.jsonl before that round; they are at least as long.
    """
    for name in _AFTER_TRAINING:
        (folder / name).unlink(missing_ok=True)
    for name in _FOLDERS_AFTER_TRAINING:
        shutil.rmtree(folder / name, ignore_errors=True)
    for name in APPENDED:
        _truncate(folder / name, sizes.get(name, 0))
    for path in [*folder.glob("captures/*"), *folder.glob("audit/*")]:
        found = _OF_A_ROUND.match(path.name)
        if found and int(found[1]) >= next_round:
            path.unlink()


def remove_partial(folder: Path) -> None:
    """Remove the files that were being written when a process was killed; safetensors begins with ``.tmp``."""
    for path in [*folder.rglob(".tmp*"), *folder.rglob("*.part")]:
        if path.is_file():
            path.unlink()


def _truncate(path: Path, size: int) -> None:
    if size == 0:
        path.unlink(missing_ok=True)
    elif path.stat().st_size > size:
        os.truncate(path, size)


def sizes_now(folder: Path) -> dict[str, int]:
    """Return the length in bytes of each file that rounds are appended to."""
    return {name: (folder / name).stat().st_size for name in APPENDED if (folder / name).exists()}


def read_environment(folder: Path) -> dict[str, Any]:
    """Return ``environment.json``."""
    return dict(json.loads((folder / "environment.json").read_text(encoding="utf-8")))
