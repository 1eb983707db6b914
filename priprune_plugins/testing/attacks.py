"""What every attack must keep."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.messages import LabelledSet, Observation, Reconstruction
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.testing.bystander import surroundings
from priprune_plugins.testing.declaration import check_declaration
from priprune_plugins.testing.failures import broken_contract, require
from priprune_plugins.testing.observed import observations, some_candidates


def check_attack(plugin: Any) -> None:
    """Check an attack on two real uploads: give it few iterations, quality is not what is checked.

    Args:
        plugin: The instance under test; ``reconstruct``, ``identify`` or both are checked.

    Raises:
        AssertionError: What is wrong and what to do.
    """
    name = type(plugin).__name__
    check_declaration("attacks", plugin)
    host = PluginHost([Registered("attacks", name, f"attacks[0]:{name}", plugin)])
    seen = observations()
    if host.implements("reconstruct"):
        guesses = _twice(name, host, "reconstruct", plugin, seen)
        for guess, observation in zip(guesses[0], seen, strict=True):
            _check_guess(name, guess, observation)
        _check_same(name, [_tensors_of(made) for made in guesses])
    if host.implements("identify"):
        scores = _twice(name, host, "identify", plugin, seen, some_candidates())
        _check_same(name, scores)


def _twice(name: str, host: PluginHost, hook: str, plugin: Any, seen: Sequence[Observation], *more: Any) -> list[Any]:
    before = [tensor.clone() for tensor in _given(seen, *more)]
    answers = [_called(name, host, hook, plugin, seen, global_seed, *more) for global_seed in (1, 2)]
    unchanged = all(torch.equal(old, new) for old, new in zip(before, _given(seen, *more), strict=True))
    require(unchanged, f"{name} writes to its observations, which other attacks get too: work on a clone")
    return answers


def _called(
    name: str, host: PluginHost, hook: str, plugin: Any, seen: Sequence[Observation], global_seed: int, *more: Any
) -> Any:
    shares: list[float] = []

    def progress(share: float, loss: float | None = None) -> None:
        shares.append(share)

    with seeded_globals(global_seed, "whatever stood before"), broken_contract():
        before = dict(surroundings(None))
        answer = getattr(host, hook)(plugin, seen, *more, generator(0, "contract"), progress)
        for what, value in surroundings(None):
            same = torch.equal(value, before[what]) if isinstance(value, Tensor) else value == before[what]
            require(same, f"{name} changed {what.partition(' (')[0]}: draw from the generator that it gets")
    require(all(0 <= share <= 1 for share in shares), f"{name} reports progress outside [0, 1]: {shares}")
    return answer


def _tensors_of(guesses: Sequence[Reconstruction]) -> list[Tensor]:
    return [tensor for guess in guesses for tensor in (guess.images, torch.tensor(guess.loss))]


def _check_same(name: str, answers: Sequence[Sequence[Tensor]]) -> None:
    pairs = zip(*answers, strict=True)
    # A score that is no number says that the upload tells nothing; two of them are the same answer.
    same = all(one.shape == two.shape and torch.allclose(one, two, 0, 0, equal_nan=True) for one, two in pairs)
    require(same, f"{name} gives another result the second time: draw from the generator that it gets only")


def _check_guess(name: str, guess: Reconstruction, observation: Observation) -> None:
    facts, count = observation.facts, observation.num_images
    require(guess.failed is None, f"{name} fails on one step of small batches: {guess.failed}")
    shape = (count, *facts.image_shape)
    require(tuple(guess.images.shape) == shape, f"{name} must give images {shape}, got {tuple(guess.images.shape)}")
    require(guess.images.is_floating_point(), f"{name} must give float images, got {guess.images.dtype}")
    require(torch.isfinite(guess.images).all(), f"{name} gives pixels that are not finite")
    low, high = float(guess.images.min()), float(guess.images.max())
    require(low >= 0 and high <= 1, f"{name} gives pixels from {low} to {high}: clamp them to [0, 1]")
    require(not guess.images.requires_grad, f"{name} gives images that still record gradients: detach them")
    require(math.isfinite(guess.loss), f"{name} gives a loss that is not finite")
    require(guess.trace.ndim == 1, f"{name} must give a trace [iterations], got {list(guess.trace.shape)}")
    if guess.labels is not None:
        fits = guess.labels.shape == (count,) and guess.labels.dtype == torch.int64
        inside = fits and bool(((guess.labels >= 0) & (guess.labels < facts.num_classes)).all())
        require(inside, f"{name} must give {count} int64 labels below {facts.num_classes}, got {guess.labels}")


def _given(seen: Sequence[Observation], candidates: Sequence[LabelledSet] = ()) -> Iterator[Tensor]:
    for observation in seen:
        yield from () if observation.mask is None else (observation.mask,)
        yield from (observation.broadcast, observation.server_weights, observation.upload)
        yield from (*observation.extras.values(), *observation.buffers.values(), observation.facts.mean_image)
    for offered in candidates:
        yield from (offered.images, offered.labels)
