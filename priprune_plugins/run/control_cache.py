"""Positive controls done before: the same attack on the same network and images gives the same answer.

An entry is named by everything that the answer depends on, the attack's own source included, so that one folder may
serve many runs: runs of one seed that differ in pruner or defence share their controls at initialisation. The folder
is ``cache`` inside the run folder, or the one that the environment variable PRIPRUNE_CACHE names.
"""

import hashlib
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.messages import LabelledSet, Observation, Reconstruction
from priprune_plugins.run.capture_files import read_tensors
from priprune_plugins.run.folder import write_tensors

VARIABLE = "PRIPRUNE_CACHE"
# An oracle knows where training started, and a control starts at the broadcast: it makes no difference there.
_WITHOUT_EFFECT = {"oracle"}


@dataclass(frozen=True, eq=False)
class Raw:
    """An attack's answer to one observation as it came.

    Args:
        guess: Its reconstruction, or None.
        scores: ``[N]`` its scores of the candidates, or None.
    """

    guess: Reconstruction | None
    scores: Tensor | None


def cache_folder(run_folder: Path) -> Path:
    """Return where controls are kept."""
    named = os.environ.get(VARIABLE)
    return (Path(named) if named else run_folder / "cache") / "controls"


def control_name(
    plugin: object,
    observations: Sequence[Observation],
    candidates: Sequence[LabelledSet],
    stream: torch.Generator,
) -> str:
    """Return the name of an entry: a digest of the attack, its options and source, what it is given and its stream."""
    digest = hashlib.sha256()
    for part in _parts(plugin, observations, candidates, stream):
        digest.update(part)
    return digest.hexdigest()


def read_control(folder: Path, name: str, count: int, device: torch.device) -> list[Raw] | None:
    """Return the ``count`` answers of an entry, or None where it is not there."""
    paths = [folder / f"{name}_{index}.safetensors" for index in range(count)]
    return [_read(path, device) for path in paths] if all(path.is_file() for path in paths) else None


def write_control(folder: Path, name: str, answers: Sequence[Raw]) -> None:
    """Keep answers under a name."""
    folder.mkdir(parents=True, exist_ok=True)
    for index, answer in enumerate(answers):
        tensors, about = _written(answer)
        write_tensors(folder / f"{name}_{index}.safetensors", tensors, about)


def _written(answer: Raw) -> tuple[dict[str, Tensor], dict[str, Any]]:
    tensors = {} if answer.scores is None else {"scores": answer.scores}
    guess = answer.guess
    if guess is None:
        return tensors, {"guess": None}
    labels = {} if guess.labels is None else {"labels": guess.labels}
    about = {"loss": guess.loss, "failed": guess.failed, "notes": dict(guess.notes)}
    return {**tensors, **labels, "images": guess.images, "trace": guess.trace}, {"guess": about}


def _read(path: Path, device: torch.device) -> Raw:
    tensors, about = read_tensors(path, device)
    guess = about["guess"]
    made = (
        None
        if guess is None
        else Reconstruction(tensors["images"], tensors.get("labels"), trace=tensors["trace"], **guess)
    )
    return Raw(made, tensors.get("scores"))


def _parts(
    plugin: object, observations: Sequence[Observation], candidates: Sequence[LabelledSet], stream: torch.Generator
) -> Iterator[bytes]:
    cls: type = type(plugin)
    options = {f.name: getattr(plugin, f.name) for f in fields(plugin) if f.name not in _WITHOUT_EFFECT}  # type: ignore[arg-type]
    source = inspect.getsourcefile(cls)
    digest = "no source" if source is None else _source_digest(source, cls.__module__.count("."))
    yield repr((cls.__module__, cls.__qualname__, options, digest, torch.__version__)).encode()
    yield repr(stream.initial_seed()).encode()
    for seen in observations:
        facts = seen.facts
        known = (facts.image_shape, facts.num_classes, facts.lr, facts.batch_size, facts.local_steps, facts.epochs)
        who = (seen.num_samples, seen.round_idx, seen.client_ids, str(seen.broadcast.device), str(facts.build_model()))
        yield repr((known, who)).encode()
        yield from _bytes_of([facts.mean_image, seen.broadcast, seen.upload, seen.offset, seen.labels])
        for tensors in (seen.extras, seen.buffers, seen.broadcast_buffers):
            yield from _bytes_of_named(tensors)
    public = observations[0].public
    for images in [*candidates, *([] if public is None else [public])]:
        yield from _bytes_of([images.images, images.labels])


def _bytes_of_named(tensors: Mapping[str, Tensor]) -> Iterator[bytes]:
    for name, tensor in sorted(tensors.items()):
        yield name.encode()
        yield from _bytes_of([tensor])


def _bytes_of(tensors: Sequence[Tensor | None]) -> Iterator[bytes]:
    for tensor in tensors:
        yield b"none" if tensor is None else repr((tensor.dtype, tuple(tensor.shape))).encode()
        if tensor is not None:
            yield tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes()


@cache
def _source_digest(source: str, depth: int) -> str:
    """Return a digest of the source files of a plugin's package, or of its own file where it is in none.

    Args:
        source: Path of the plugin's file.
        depth: How many packages it is in.
    """
    files = sorted(Path(source).parents[depth - 1].rglob("*.py")) if depth else [Path(source)]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()
