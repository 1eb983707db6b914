"""What ``release`` warns of, once a run: clients of few images, and a setup round, which it does not protect."""

import logging
from collections.abc import Sequence

from priprune_plugins import Upload
from priprune_plugins.messages import State

_logger = logging.getLogger("priprune_defenses.release")


def warn_of_setup(state: State) -> None:
    """Say at the first upload of a setup round that all of them are sent whole.

    Args:
        state: The server's.
    """
    if not state.get("warned_of_setup"):
        state["warned_of_setup"] = True
        _logger.warning("release: the setup round's uploads are sent whole: nothing is held yet")


def note_images(state: State, upload: Upload) -> None:
    """Note how many images a client of this round has, or those of a group on average, and whose they are.

    Args:
        state: The server's.
        upload: What was received.
    """
    if not state.get("warned_of_images"):
        each = upload.num_samples / len(upload.client_ids)
        state.setdefault("images", []).append((each, upload.client_ids))


def warn_of_images(state: State, batch_size: int, first_cycle: float, cycle: float) -> None:
    """Say in the first round that has any how many of its clients mix the same images with themselves, and the worst.

    Of a group, which secure aggregation shows in place of its clients, only the mean over them is known.

    Args:
        state: The server's; what was noted of the round is forgotten.
        batch_size: Images a step.
        first_cycle: Participations from one release of a coordinate to the next, at a client's first one.
        cycle: The same after its warm-up.
    """
    noted: list[tuple[float, tuple[int, ...]]] = state.pop("images", [])
    if not any(count < batch_size * cycle for count, _ in noted):
        return
    state["warned_of_images"] = True
    fewest, worst = min(noted, key=lambda found: found[0])
    _logger.warning(
        "release: %s; the fewest, %.4g, has %s; give clients more images, or a smaller batch",
        _shortage([count for count, _ in noted], _whose(worst), batch_size, first_cycle, cycle),
        fewest,
        _named(worst),
    )


def _shortage(images: Sequence[float], whose: str, batch_size: int, first_cycle: float, cycle: float) -> str:
    """Return how many have too few images now, and after the warm-up where it has more than one batch."""
    now, later = batch_size * first_cycle, batch_size * cycle
    at_once, then = (sum(count < needed for count in images) for needed in (now, later))
    of, over = f"of this round's {len(images)} {whose}", f"batches of {batch_size} over"
    enough = f"than the {later:.0f} that the gap needs after the warm-up"
    if not at_once:
        return f"{then} {of} fewer images {enough}, {over} {cycle:.4g} participations: the same images will meet again"
    grows = f", and {then} fewer {enough}" if now < later else ""
    return (
        f"{at_once} {of} fewer images than {now:.0f}, {over} {first_cycle:.4g} participations{grows}: the same images "
        "meet again"
    )


def _whose(client_ids: Sequence[int]) -> str:
    return "clients have" if len(client_ids) == 1 else "groups have on average over their clients"


def _named(client_ids: Sequence[int]) -> str:
    if len(client_ids) == 1:
        return f"client {client_ids[0]}"
    return f"the group of {len(client_ids)} clients from {client_ids[0]} to {client_ids[-1]}"
