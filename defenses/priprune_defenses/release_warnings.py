"""What ``release`` warns of, once a run: clients of few images, and a setup round, which it does not protect."""

import logging

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
    """Note how many images a client of this round has, or those of a group on average.

    Args:
        state: The server's.
        upload: What was received.
    """
    if not state.get("warned_of_images"):
        state.setdefault("images", {})[upload.client_ids[0]] = upload.num_samples / len(upload.client_ids)


def warn_of_images(state: State, batch_size: int, first_cycle: float, cycle: float) -> None:
    """Say in the first round that has any how many of its clients mix the same images with themselves, and the worst.

    Args:
        state: The server's; what was noted of the round is forgotten.
        batch_size: Images a step.
        first_cycle: Participations from one release of a coordinate to the next, at a client's first one.
        cycle: The same after its warm-up.
    """
    images: dict[int, float] = state.pop("images", {})
    now, later = batch_size * first_cycle, batch_size * cycle
    short = [client_id for client_id, count in images.items() if count < later]
    if not short:
        return
    state["warned_of_images"] = True
    worst = min(short, key=images.__getitem__)
    at_once = sum(count < now for count in images.values())
    grows = f", and {len(short)} fewer than the {later:.0f} that the gap needs after the warm-up" if now < later else ""
    _logger.warning(
        "release: %d of this round's %d clients have fewer images than %.0f, batches of %d over %.4g participations%s: "
        "the same images meet again; the fewest, %.4g, has client %d; give clients more images, or a smaller batch",
        *(at_once, len(images), now, batch_size, first_cycle, grows, images[worst], worst),
    )
