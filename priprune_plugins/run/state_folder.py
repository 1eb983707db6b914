"""Where clients' states lie that do not fit in memory, and how much disk they will need."""

import hashlib
import shutil
from pathlib import Path

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.sections import StatesSection

_WORTH_SAYING = 2**30


def states_outside(folder: Path, section: StatesSection) -> Path | None:
    """Return the folder of a run's clients' states where that is not in the run folder."""
    if section.folder is None:
        return None
    # Runs of the same name must not share it.
    own = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:12]
    return Path(section.folder) / f"{folder.name}-{own}"


def states_folder(folder: Path, section: StatesSection) -> Path:
    """Return the folder of a run's clients' states: in the run folder, or in one of its own below ``states.folder``.

    Raises:
        ScenarioError: ``states.folder`` cannot be made.
    """
    chosen = states_outside(folder, section)
    if chosen is None:
        return folder / "checkpoint" / "clients"
    try:
        chosen.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ScenarioError(f"states.folder: cannot make {chosen}: {error.strerror}; give another folder") from error
    return chosen


def disk_need(client_bytes: int, num_clients: int, max_bytes: float, versions: int, folder: Path) -> tuple[str, bool]:
    """Return what to tell the user of the disk that clients' states will need, and whether it is too small.

    Args:
        client_bytes: Size of one client's state.
        num_clients: Clients in all; each may take part.
        max_bytes: What stays in memory.
        versions: How many versions of a client's state may lie on the disk: the current one and those of checkpoints.
        folder: Where they will lie.

    Returns:
        One line, empty where there is nothing to say, and True where the disk has less.
    """
    total = client_bytes * num_clients
    if total <= min(max_bytes, _WORTH_SAYING):
        return "", False
    need = total * versions
    free = shutil.disk_usage(next(path for path in (folder, *folder.absolute().parents) if path.is_dir())).free
    kept = f"at most {_gib(max_bytes)} stay in memory" if total > max_bytes else "all stay in memory"
    return (
        f"clients' states take {client_bytes / 2**20:.1f} MiB each, {_gib(total)} for {num_clients} clients: {kept}, "
        f"{folder} may grow to {_gib(need)}, where {_gib(free)} are free"
    ), need > free


def _gib(num_bytes: float) -> str:
    return f"{num_bytes / 2**30:.2g} GiB" if num_bytes < 2**30 * 10 else f"{num_bytes / 2**30:.0f} GiB"
