"""What a run folder knows of its attacks: who they are, what each has done, what each remembered at the server."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from pydantic_core import to_jsonable_python

from priprune_plugins.checkpoint.plain import UnsavableError
from priprune_plugins.checkpoint.state_file import DamagedFileError, read_state, write_state
from priprune_plugins.errors import PluginError, ScenarioError
from priprune_plugins.messages import Server
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.run.folder import read_lines, write_json
from priprune_plugins.run.observed import all_captures

_DESCRIPTION = "attack.json"


def describe(folder: Path, attack: Registered) -> None:
    """Write down which attack has this label, with every option, so that it can be gone on with."""
    path = folder / "reconstructions" / attack.name / _DESCRIPTION
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {f.name: to_jsonable_python(getattr(attack.plugin, f.name)) for f in fields(attack.plugin) if f.init}  # type: ignore[arg-type]
    write_json(path, {"plugin": repr(attack.plugin), "name": _class_of(attack), "options": options})


def described(folder: Path) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return name and options of every attack that was begun on a run folder, by its label."""
    paths = sorted((folder / "reconstructions").glob(f"*/{_DESCRIPTION}"))
    about = {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in paths}
    return {label: (found["name"], found["options"]) for label, found in about.items() if "name" in found}


def made_with(folder: Path, label: str) -> str | None:
    """Return the plugin, options included, whose figures stand under ``label`` in a run folder, or None."""
    path = folder / "reconstructions" / label / _DESCRIPTION
    return str(json.loads(path.read_text(encoding="utf-8"))["plugin"]) if path.is_file() else None


def done_by(folder: Path, label: str) -> set[tuple[str, int, str]]:
    """Return group, round and key of every capture that an attack has a line for in privacy.jsonl."""
    lines = read_lines(folder / "privacy.jsonl")
    return {(line["group"], line["round"], line["key"]) for line in lines if line["attack"] == label}


def unfinished(folder: Path) -> dict[str, int]:
    """Return how many captures each attack has not done, without those that have done all."""
    labels = [path.parent.name for path in sorted((folder / "reconstructions").glob(f"*/{_DESCRIPTION}"))]
    total = len(all_captures(folder / "captures"))
    done = Counter(line["attack"] for line in read_lines(folder / "privacy.jsonl"))
    return {label: total - done[label] for label in labels if done[label] < total}


def keep_attack_states(folder: Path, attacks: Sequence[Registered], server: Server) -> None:
    """Write what attacks remember at the server after the last round, for ``reconstruct`` and ``identify``.

    Args:
        folder: The run folder.
        attacks: The run's attacks; only those that watch the server have a state.
        server: The server after the last round.

    Raises:
        PluginError: A state holds what no file can.
    """
    for attack in attacks:
        if not _watches(attack):
            continue
        path = folder / "attackers" / f"{attack.name}.safetensors"
        path.parent.mkdir(exist_ok=True)
        try:
            digest = write_state(path, dict(server.state(attack.plugin)), f"the state of {attack}")
        except UnsavableError as error:
            raise PluginError(f"{error}: server.state holds tensors, numbers, text and lists of these") from error
        write_json(path.with_suffix(".json"), {"name": _class_of(attack), "sha256": digest})


def attack_state(folder: Path, attack: Registered) -> Mapping[str, Any]:
    """Return what an attack remembered at the server, or, under other options, what the run's own remembered.

    Raises:
        ScenarioError: It watches the server and took no part in the run, or its file is damaged.
    """
    if not _watches(attack):
        return {}
    names = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((folder / "attackers").glob("*.json"))
    }
    same = [label for label, about in names.items() if about["name"] == _class_of(attack)]
    label = attack.name if attack.name in same else next(iter(same), None)
    if label is None:
        raise ScenarioError(
            f"{attack} watches the server during training and took no part in {folder}: "
            "name it among the scenario's attacks and run that again"
        )
    try:
        state: Mapping[str, Any] = read_state(
            folder / "attackers" / f"{label}.safetensors", names[label]["sha256"], torch.device("cpu")
        )
    except DamagedFileError as error:
        raise ScenarioError(f"{error}; run the scenario again") from error
    return state


def _watches(attack: Registered) -> bool:
    return PluginHost([attack]).implements("on_server_receive")


def _class_of(attack: Registered) -> str:
    """Return ``module:Class``, which any attack can be selected by, under whatever name it came."""
    return f"{type(attack.plugin).__module__}:{type(attack.plugin).__qualname__}"
