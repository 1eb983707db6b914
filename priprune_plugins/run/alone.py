"""One process at a time in a run folder, and no folder left of a run that came to nothing."""

import fcntl
import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from priprune_plugins.errors import ScenarioError
from priprune_plugins.run.folder import new_folder

_logger = logging.getLogger(__name__)


class TakenError(ScenarioError):
    """Another process is at work in a run folder, which is therefore not ours to remove."""


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keep every other process out of a run folder; the lock goes with the process, however it ends.

    Raises:
        TakenError: Another process is at work in it.
    """
    opened = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(opened)
        raise TakenError(f"{folder}: another process is running there; wait for it, or give another --out") from error
    except OSError as error:
        _logger.warning("%s cannot be locked (%s): see to it that no other process runs there", folder, error.strerror)
    try:
        yield
    finally:
        os.close(opened)


@contextmanager
def alone_in_new(folder: Path, outside: Path | None = None) -> Iterator[None]:
    """Make the run folder and work alone in it; it goes again where the block raises before its first round is done.

    Whatever is wrong, a scenario, a plugin, a model of the user's own or a full disk: nothing in it could be gone on
    with, the error itself is told elsewhere, and it would stand in the way of the corrected run. One that is
    interrupted stays, and is gone on with.

    Args:
        folder: The run folder.
        outside: Another folder that the run may make, for its clients' states; where it does, that goes too.

    Raises:
        ScenarioError: It exists already, or cannot be made; or another process took it at once.
    """
    made = [] if outside is None else [path for path in (outside, *outside.parents) if not path.exists()]
    new_folder(folder)
    with ExitStack() as held:
        with _removed_if_refused(folder, made):
            held.enter_context(alone(folder))
        # Still alone: nobody else may begin in it while it is removed.
        with _removed_if_refused(folder, made):
            yield


@contextmanager
def _removed_if_refused(folder: Path, made: Sequence[Path]) -> Iterator[None]:
    """Remove a folder and one outside of it, of which ``made`` names itself and its parents, innermost first."""
    try:
        yield
    except TakenError:
        raise
    except Exception:
        if not (folder / "rounds.jsonl").exists():
            for path in (folder, *made[:1]):
                shutil.rmtree(path, ignore_errors=True)
            for path in made[1:]:
                # Another run may have begun to use it too.
                with suppress(OSError):
                    path.rmdir()
        raise
