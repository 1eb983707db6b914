"""What an attack's answer must be; whatever else it returns is its author's mistake, said by name."""

from collections.abc import Sequence

from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.messages import LabelledSet, Observation, Reconstruction


def checked_reconstructions(label: str, answer: object, observations: Sequence[Observation]) -> list[Reconstruction]:
    """Return what ``reconstruct`` answered.

    Args:
        label: How errors name the attack.
        answer: What it returned.
        observations: What it was given.

    Raises:
        PluginError: Not one :class:`Reconstruction` per observation, or images of another shape.
    """
    if not isinstance(answer, list) or len(answer) != len(observations):
        raise PluginError(
            f"{label} must return one reconstruction for each of {len(observations)} uploads, got {_counted(answer)}"
        )
    for guess, observation in zip(answer, observations, strict=True):
        if not isinstance(guess, Reconstruction):
            raise PluginError(f"{label} must return Reconstructions, got {type(guess).__name__}")
        if guess.failed is None and guess.images.shape[1:] != observation.facts.image_shape:
            expected = list(observation.facts.image_shape)
            raise PluginError(f"{label} must return images [B, *{expected}], got {list(guess.images.shape)}")
    return answer


def checked_scores(label: str, answer: object, candidates: Sequence[LabelledSet]) -> list[Tensor]:
    """Return what ``identify`` answered.

    Args:
        label: How errors name the attack.
        answer: What it returned.
        candidates: What it was given.

    Raises:
        PluginError: Not one vector per observation with one score per candidate.
    """
    if not isinstance(answer, list) or len(answer) != len(candidates):
        raise PluginError(
            f"{label} must return a list of scores for each of {len(candidates)} uploads, got {_counted(answer)}"
        )
    for scores, offered in zip(answer, candidates, strict=True):
        if not isinstance(scores, Tensor) or scores.shape != (len(offered),):
            got = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            raise PluginError(f"{label} must return scores [{len(offered)}], one per candidate, got {got}")
    return answer


def _counted(answer: object) -> str:
    return f"{len(answer)} of them" if isinstance(answer, list) else type(answer).__name__
