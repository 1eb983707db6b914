"""From features to reconstructions: the images of all observations that share weights are one batch."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import inf

import torch
from torch import Tensor, nn

from priprune_attacks.chunks import Chunk, chunks, run_in_halves
from priprune_attacks.features import Features
from priprune_attacks.inversion import Inversion, activations, invert_representation
from priprune_attacks.representations import mixes_its_batch
from priprune_attacks.shared_model import model_at
from priprune_attacks.starts import STARTS, StartName
from priprune_plugins import Observation, Progress, Reconstruction
from priprune_plugins.generators import generator as stream

Read = Callable[[Observation, nn.Module, torch.Generator], Features]

_GIB = 1 << 30
# Copies of every activation that forward, backward and Adam keep.
_COPIES = 4


@dataclass(eq=False)
class _Row:
    """Images that are inverted together: one, or all of an observation where a batch norm ties them."""

    observation: Observation
    features: Features
    values: Tensor
    number: int
    images: Tensor | None = field(default=None, init=False)
    distance: float = field(default=inf, init=False)
    trace: Tensor | None = field(default=None, init=False)
    failed: str | None = field(default=None, init=False)


def reconstruct_from_features(
    observations: Sequence[Observation],
    read: Read,
    inversion: Inversion,
    starts: Sequence[StartName],
    max_gib: float,
    generator: torch.Generator,
    progress: Progress,
) -> list[Reconstruction]:
    """Return one reconstruction per observation, in order.

    An image whose features were not found is given as the public mean image, and counts 1, the distance of a
    representation of nothing, in the mean over the batch that is the reconstruction's loss.

    Args:
        observations: What the server holds; their tensors' device is where the work is done.
        read: Says what is held of an observation's features.
        inversion: How features are inverted.
        starts: Where each image's restarts begin.
        max_gib: Memory that one batch may take, an estimate; halved further when memory runs out.
        generator: One number is drawn from it.
        progress: Gets the share done, in [0, 1].
    """
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    guesses: list[Reconstruction] = []
    for members in _sharing_weights(observations):
        first = members[0]
        model = model_at(first.facts, first.broadcast, first.broadcast_buffers)
        held = [read(seen, model, stream(seed, "features", seen.round_idx, *seen.client_ids)) for seen in members]
        rows = _rows(model, members, held)
        _invert(model, rows, inversion, starts, max_gib, seed)
        guesses += [
            _reconstruction(s, f, [r for r in rows if r.features is f]) for s, f in zip(members, held, strict=True)
        ]
        progress(len(guesses) / len(observations))
    return guesses


def _sharing_weights(observations: Sequence[Observation]) -> Iterator[list[Observation]]:
    """Yield runs of observations with bit-equal broadcasts: what the host hands over together is of one round."""
    run: list[Observation] = []
    for seen in observations:
        if run and not torch.equal(run[0].broadcast, seen.broadcast):
            yield run
            run = []
        run.append(seen)
    if run:
        yield run


def _rows(model: nn.Module, observations: Sequence[Observation], held: Sequence[Features]) -> list[_Row]:
    rows: list[_Row] = []
    for seen, features in zip(observations, held, strict=True):
        if features.failed is not None or features.images is not None:
            continue
        tied = len(features.values) > 1 and mixes_its_batch(
            model, features.layer, seen.facts.image_shape, features.side
        )
        parts = [features.values] if tied else features.values.unsqueeze(1)
        rows += [_Row(seen, features, part, number) for number, part in enumerate(parts)]
    return rows


def _invert(
    model: nn.Module, rows: Sequence[_Row], inversion: Inversion, starts: Sequence[StartName], max_gib: float, seed: int
) -> None:
    """Fill in the rows, those of one shape together."""
    kinds = {(row.features.layer, row.features.side, row.values.shape) for row in rows}
    for layer, side, shape in sorted(kinds, key=str):
        alike = [
            row for row in rows if (row.features.layer, row.features.side, row.values.shape) == (layer, side, shape)
        ]
        image = alike[0].observation.facts.mean_image.to(alike[0].values)
        per_row = _COPIES * shape[0] * len(starts) * activations(model, layer, image) * image.element_size()
        for chunk in chunks(len(alike), 1, max(1, int(max_gib * _GIB / per_row))):
            run_in_halves(chunk, partial(_work, model, alike, inversion, starts, seed), partial(_fail, alike))


def _work(
    model: nn.Module,
    alike: Sequence[_Row],
    inversion: Inversion,
    names: Sequence[StartName],
    seed: int,
    chunk: Chunk,
) -> None:
    rows = [alike[victim] for victim in chunk.victims]
    features = rows[0].features
    values = torch.stack([row.values for row in rows])  # [V, B, ...]
    everything = torch.ones_like(values[0, 0], dtype=torch.bool)
    known = torch.stack([everything if row.features.known is None else row.features.known for row in rows])
    starts = torch.stack([_starts(row, names, seed) for row in rows])
    error = values.new_tensor([row.features.error for row in rows])
    inverted = invert_representation(
        model, features.layer, values, starts, inversion, features.side, known.unsqueeze(1), error
    )
    for position, row in enumerate(rows):
        row.images, row.distance = inverted.images[position], float(inverted.distance[position])
        row.trace = inverted.trace[:, position]


def _starts(row: _Row, names: Sequence[StartName], seed: int) -> Tensor:
    """Draw the starts on the CPU, so that every device starts from the same bits: ``[R, B, C, H, W]``."""
    seen, drawn = row.observation, []
    for name in names:
        draws = stream(seed, "start", name, row.number, seen.round_idx, *seen.client_ids)
        drawn.append(STARTS[name](seen.facts, len(row.values), draws))
    return torch.stack(drawn).to(row.values)


def _fail(alike: Sequence[_Row], chunk: Chunk, reason: str) -> None:
    for victim in chunk.victims:
        alike[victim].failed = reason


def _reconstruction(observation: Observation, features: Features, rows: Sequence[_Row]) -> Reconstruction:
    """Return the images found, then the public mean image for every other one."""
    mean = observation.facts.mean_image.to(observation.broadcast)
    count, nothing = observation.num_images, mean.new_empty(0)
    failed = features.failed or next((row.failed for row in rows if row.failed is not None), None)
    if failed is not None:
        return Reconstruction(mean.repeat(count, 1, 1, 1), None, inf, nothing, failed, features.notes)
    found = [features.images] if features.images is not None else [row.images for row in rows if row.images is not None]
    images = torch.cat([*found, mean.expand(count - len(features.values), -1, -1, -1)])
    missing = (count - len(features.values)) / count
    loss, trace = missing, nothing
    if rows:
        shares = [len(row.values) / count for row in rows]
        loss += sum(share * row.distance for share, row in zip(shares, rows, strict=True))
        traces = [share * row.trace for share, row in zip(shares, rows, strict=True) if row.trace is not None]
        trace = torch.stack(traces).sum(0) + missing
    return Reconstruction(images.clone(), features.labels, loss, trace, None, features.notes)
