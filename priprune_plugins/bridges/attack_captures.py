"""Attacks on the captures of a framework's rounds, measured as those of a run: with floors and a positive control."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.leak_captures import LeakCaptures
from priprune_plugins.bridges.probes import probe, probe_facts
from priprune_plugins.bridges.setting import chosen, make_setting
from priprune_plugins.bridges.task import Task
from priprune_plugins.data.federation import FederatedImages
from priprune_plugins.data.images import ImageData
from priprune_plugins.errors import ScenarioError
from priprune_plugins.facts import Batch, Facts, LabelledSet
from priprune_plugins.masks import applied
from priprune_plugins.report import write_report
from priprune_plugins.run.assemble import World
from priprune_plugins.run.attack_again import labelled
from priprune_plugins.run.attack_stage import AttackStage, attack_all
from priprune_plugins.run.capture_files import read_tensors
from priprune_plugins.run.captures import Capture, control_key
from priprune_plugins.run.folder import write_json
from priprune_plugins.run.observed import all_captures
from priprune_plugins.run.truth import TruthStore
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.sections import PrivacySection
from priprune_plugins.simulation.buffers import load_buffers_
from priprune_plugins.simulation.flat_model import flatten_


def attack_captures(
    folder: Path | str,
    facts: Facts,
    test: LabelledSet,
    attacks: Sequence[Mapping[str, Any]],
    seed: int = 0,
    device: torch.device | str = "cpu",
    public: LabelledSet | None = None,
    privacy: PrivacySection | None = None,
    watcher: Watcher | None = None,
) -> dict[str, Any]:
    """Attack every capture of a folder and measure what was reconstructed, client by client.

    Writes ``privacy.jsonl`` (one line per attack, round and client), ``reconstructions/``, ``summary.json`` and
    ``report.html``; what an attack has done already is left alone.

    Args:
        folder: Holds ``captures/`` and ``audit/``, see :class:`~priprune_plugins.bridges.leak_captures.LeakCaptures`.
        facts: The federation's public facts.
        test: Public images, in [0, 1], which floors and candidates are drawn from.
        attacks: As in a scenario: ``[{"name": "sgi"}]``.
        seed: Every random stream is derived from it.
        device: Where attacks work.
        public: The server's labelled public set, or None.
        privacy: How reconstructions are measured.
        watcher: Is told what happens.

    Returns:
        The summary; ``attacks`` holds the figures by attack.

    Raises:
        ScenarioError: No captures, or a wrong attack.
    """
    folder, privacy, place = Path(folder), privacy or PrivacySection(), torch.device(device)
    if not all_captures(folder / "captures"):
        raise ScenarioError(
            f"{folder} holds no captures: give LeakCaptures to make_setting, and its rounds and clients"
        )
    facts = replace(facts, layout=replace(facts.layout, device=place), mean_image=facts.mean_image.to(place))
    make_controls(folder, facts, seed, place, privacy.control_images)
    model = facts.build_model().to(place)
    world = World(place, _images(test, public, facts, place), facts, model)
    summary = {"name": folder.resolve().name, "parameters": facts.layout.num_parameters, "device": str(place)}
    stage = AttackStage(folder, world, seed, privacy)
    plugins = [labelled(folder, attack) for attack in chosen({"attacks": attacks})]
    found = attack_all(stage, plugins, watcher or Watcher(), summary, lambda s: write_json(folder / "summary.json", s))
    write_report(folder)
    return found


def make_controls(folder: Path, facts: Facts, seed: int, device: torch.device, count: int) -> None:
    """Write the positive controls that are missing: single images of captured clients, one step, nothing protected.

    Args:
        folder: Holds ``captures/`` and ``audit/``.
        facts: Public facts, on ``device``.
        seed: Every random stream is derived from it.
        device: Where gradients are computed.
        count: Controls of each captured round.
    """
    captures = all_captures(folder / "captures")
    for round_idx in sorted({capture.round_idx for capture in captures}):
        here = [capture for capture in captures if capture.round_idx == round_idx]
        done = {capture.key for capture in here if capture.group == "control"}
        missing = [index for index in range(count) if control_key(round_idx, index) not in done]
        if missing:
            images = list(_single_images(folder, [one for one in here if one.group != "control"]))
            model = _model(folder, facts, round_idx, device)
            for index in missing:
                client_id, batch = images[index % len(images)]
                _control(folder, facts, seed, model, round_idx, index, client_id, batch)


def _control(
    folder: Path, facts: Facts, seed: int, model: nn.Module, round_idx: int, index: int, client_id: int, batch: Batch
) -> None:
    bare = ClientSide(make_setting(model, facts, {}, folder, seed))
    trained = probe(bare, model, Task(client_id, round_idx, 1, 1), [batch], 1)
    LeakCaptures(folder).keep(trained, probe_facts(facts, 1), "control", control_key(round_idx, index))


def _single_images(folder: Path, captures: Sequence[Capture]) -> Iterator[tuple[int, Batch]]:
    """Yield images one by one, the first of each client before the second of any."""
    truths = [(capture.client_ids[0], TruthStore(folder).images(capture.key)) for capture in captures]
    for place in range(max(len(truth) for _, truth in truths)):
        for client_id, truth in truths:
            if place < len(truth):
                yield client_id, (truth.images[place : place + 1], truth.labels[place : place + 1])


def _model(folder: Path, facts: Facts, round_idx: int, device: torch.device) -> nn.Module:
    side, _ = read_tensors(folder / "captures" / f"r{round_idx:06d}.safetensors", device)
    model = facts.build_model().to(device)
    flatten_(model).copy_(side.get("broadcast", applied(side["server_weights"], side.get("mask"))))
    load_buffers_(model, {n.removeprefix("buffers."): t for n, t in side.items() if n.startswith("buffers.")})
    return model


def _images(test: LabelledSet, public: LabelledSet | None, facts: Facts, device: torch.device) -> FederatedImages:
    """Return what attacks may know of the data: the public images, and no client."""
    channels = facts.image_shape[0]
    images, labels = test.images.to(device), test.labels.to(device)
    data = ImageData(images, labels, images, labels, facts.num_classes, (0.0,) * channels, (1.0,) * channels)
    given = None if public is None else LabelledSet(public.images.to(device), public.labels.to(device))
    return FederatedImages(data, (), (), (), LabelledSet(images, labels), given, facts.mean_image)
