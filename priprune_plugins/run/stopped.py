"""What a user is told when a run ends before its end through no fault of its own: a signal, or a full disk."""

import errno
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from priprune_plugins.checkpoint.checkpoints import Checkpoints
from priprune_plugins.errors import Interrupted, RunError
from priprune_plugins.run.interruption import Stop

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FULL_INSIDE = re.compile(rf"os error ({'|'.join(map(str, _FULL))})\b")


@contextmanager
def told_how_to_go_on(folder: Path, stop: Stop, command: str) -> Iterator[None]:
    """End the block's interruptions and full disks with one line that says what is whole and how to go on.

    Args:
        folder: The run folder, which may not be there yet.
        stop: Knows the signal.
        command: What makes runs and resumes them.

    Raises:
        Interrupted: A signal came.
        RunError: A disk is full.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        raise Interrupted(f"interrupted: {standing(folder, command)}", stop.number) from error
    except OSError as error:
        if error.errno not in _FULL:
            raise
        where = f" at {error.filename}" if error.filename else ""
        raise RunError(f"the disk is full{where} ({error.strerror}): make room; {standing(folder, command)}") from error
    except SafetensorError as error:
        if not _FULL_INSIDE.search(str(error)):
            raise
        raise RunError(f"the disk is full ({error}): make room; {standing(folder, command)}") from error


def standing(folder: Path, command: str) -> str:
    """Return what of a run is whole, and how to go on."""
    if not (folder / "scenario.yaml").is_file():
        return "nothing was computed yet"
    # Not their states: reading those takes longer than an impatient user waits.
    newest = next(Checkpoints(folder / "checkpoint", 1).manifests(), None)
    if newest is None:
        kept = "there is no checkpoint yet"
    elif newest.stage == "trained":
        kept = "the training is done"
    else:
        kept = f"{newest.next_round} rounds are in the last checkpoint"
        if newest.forgotten:
            return (
                f"{kept}, which cannot be gone on with: what clients remembered is gone with a process that joined "
                f"without --states; begin anew with another --out than {folder}, every join with --states DIR"
            )
    return f"{kept}; to go on: {command} {folder / 'scenario.yaml'} --out {folder} --resume"
