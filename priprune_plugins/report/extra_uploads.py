"""What clients sent beside their weights: an attacker may use it like any other upload."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ExtraUpload:
    """One kind of extra tensor.

    Args:
        name: As the algorithm or the pruner calls it.
        rounds: When it was sent, in words.
        size_bytes: Bytes over all clients and rounds.
    """

    name: str
    rounds: str
    size_bytes: float


def extra_uploads(rounds: Sequence[Mapping[str, Any]], summary: Mapping[str, Any]) -> list[ExtraUpload]:
    """Return the extras of a run: those of the setup round first, then in order of names.

    Args:
        rounds: Lines of ``rounds.jsonl``.
        summary: ``summary.json``.
    """
    setup = _sizes(summary.get("setup_extras"))
    sent = [(record["round"], _sizes(record.get("extras"))) for record in rounds]
    names = sorted({name for _, sizes in sent for name in sizes})
    before = [ExtraUpload(name, "setup round, before training", size) for name, size in sorted(setup.items())]
    return before + [_in_rounds(name, [(r, sizes[name]) for r, sizes in sent if name in sizes]) for name in names]


def _in_rounds(name: str, sent: Sequence[tuple[int, float]]) -> ExtraUpload:
    first, last = sent[0][0], sent[-1][0]
    when = f"round {first}" if len(sent) == 1 else f"{len(sent)} rounds, from {first} to {last}"
    return ExtraUpload(name, when, sum(size for _, size in sent))


def _sizes(extras: Any) -> dict[str, float]:
    given = extras.items() if isinstance(extras, Mapping) else ()
    return {str(name): size for name, size in given if isinstance(size, int | float)}
