"""Memory of this process: its peak, and giving back what is free."""

import ctypes
import resource
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_rss_bytes() -> int:
    """Return the largest resident size so far, in bytes.

    Linux carries ``ru_maxrss`` over from the process that started this one, so its own counter is read where it exists.
    """
    if _STATUS.is_file():
        line = next(line for line in _STATUS.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def give_back_freed() -> None:
    """Return freed memory to the system where the allocator keeps it, glibc's for instance.

    Freed vectors of tens of MB stay in its heap as holes: clients' states that come and go would take twice their size.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    return getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform == "linux" else None
