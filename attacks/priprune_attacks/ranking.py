"""The walk over uploads that every attack which ranks candidates makes."""

from collections.abc import Callable, Sequence

from torch import Tensor

from priprune_plugins import LabelledSet, Observation, Progress


def scores_of_each(
    observations: Sequence[Observation],
    candidates: Sequence[LabelledSet],
    progress: Progress,
    scores: Callable[[Observation, LabelledSet], Tensor],
) -> list[Tensor]:
    """Return what ``scores`` makes of each observation and its candidates, ``[N]`` each, and tell how far it is."""
    found = []
    for index, (observation, offered) in enumerate(zip(observations, candidates, strict=True), start=1):
        found.append(scores(observation, offered))
        progress(index / len(observations))
    return found
