"""What a plugin's answer must be; whatever else it returns is its author's mistake, said by name."""

from collections.abc import Sequence

import torch
from torch import Tensor

from priprune_plugins.errors import PluginError
from priprune_plugins.live_weights import checked_vector
from priprune_plugins.messages import Client, LabelledSet, Observation, Reconstruction, Upload
from priprune_plugins.summands import GroupSum, Summand


def checked_upload(label: str, answer: object, client: Client) -> Upload:
    """Return what ``before_upload`` answered.

    Args:
        label: How errors name the plugin.
        answer: What it returned; not None.
        client: Whose upload it is.

    Raises:
        PluginError: No :class:`Upload`, or weights or ``shared`` of another type or shape.
    """
    if not isinstance(answer, Upload):
        kind = type(answer).__name__
        raise PluginError(f"{label} must return an Upload or None from before_upload, got {kind}")
    try:
        checked_vector(answer.weights, client.layout, client.weights.dtype, "upload.weights")
        if answer.shared is not None:
            checked_vector(answer.shared, client.layout, torch.bool, "upload.shared")
    except (TypeError, ValueError) as error:
        raise PluginError(f"{label} broke the upload in before_upload: {error}") from error
    return answer


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


def checked_sums(label: str, answer: object, summands: Sequence[Summand]) -> list[GroupSum]:
    """Return what ``sum_uploads`` answered.

    Args:
        label: How errors name the defence.
        answer: What it returned.
        summands: What it was given.

    Raises:
        PluginError: Not a list of sums, a sum over fewer than two clients or over one who is in another, or vectors of
            other names or shapes.
    """
    if not isinstance(answer, list) or not all(isinstance(total, GroupSum) for total in answer):
        raise PluginError(f"{label} must return a list of GroupSum, got {type(answer).__name__}")
    left = {summand.client_id for summand in summands}
    shapes = {name: vector.shape for name, vector in summands[0].vectors.items()} if summands else {}
    for total in answer:
        members = set(total.client_ids)
        if len(total.client_ids) < 2 or len(members) < len(total.client_ids) or not members <= left:
            raise PluginError(f"{label} must sum over two or more clients, each once, got {list(total.client_ids)}")
        left -= members
        if {name: vector.shape for name, vector in total.vectors.items()} != shapes:
            raise PluginError(f"{label} must return sums of {', '.join(shapes)} in their shapes")
    return answer


def _counted(answer: object) -> str:
    return f"{len(answer)} of them" if isinstance(answer, list) else type(answer).__name__
