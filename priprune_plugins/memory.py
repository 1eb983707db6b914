"""Memory of this process: its peak, and whether the allocator keeps what is freed or gives it back."""

import ctypes
import os
import resource
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

_STATUS = Path("/proc/self/status")
# Of glibc's mallopt; 32 MiB is the largest block that it can be told to keep.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BLOCK, _KEPT_AT_MOST = 2**25, 2**30


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
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


@cache
def keep_freed() -> None:
    """Let glibc's allocator keep up to 1 GiB of freed memory in blocks of up to 32 MiB for the next vectors.

    By itself it gives a freed vector of some 20 MB back at once, and the next one pays a page fault every 4 KiB: longer
    than most that is done to it. Settings from the environment (``MALLOC_TRIM_THRESHOLD_``) stay as they are.
    """
    setting = None if any(name.startswith("MALLOC_") for name in os.environ) else _of_glibc("mallopt")
    if setting is not None:
        setting(_MMAP_THRESHOLD, _KEPT_BLOCK)
        setting(_TRIM_THRESHOLD, _KEPT_AT_MOST)


@cache
def _of_glibc(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform == "linux" else None
