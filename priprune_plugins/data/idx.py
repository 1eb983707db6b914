"""The idx format of the MNIST files.

Reference: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section "File formats".
"""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from priprune_plugins.errors import ScenarioError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path) -> npt.NDArray[np.uint8]:
    """Return the array of unsigned bytes in the idx file ``path``, or in ``path.gz`` where only that exists.

    Raises:
        ScenarioError: The file is missing, truncated, longer than it says, or not idx.
    """
    raw = _bytes(path)
    num_axes = raw[3] if len(raw) >= 4 else 0
    header = 4 + 4 * num_axes
    if raw[:3] != bytes([0, 0, _UNSIGNED_BYTE]) or num_axes == 0 or len(raw) < header:
        raise ScenarioError(
            f"{path}: not an idx file of bytes (header {raw[:4].hex(' ') or 'empty'}); download it again"
        )
    shape = [int(side) for side in np.frombuffer(raw, ">u4", num_axes, offset=4)]
    if len(raw) - header != math.prod(shape):
        raise ScenarioError(
            f"{path}: {len(raw) - header} bytes of data where its header {shape} says {math.prod(shape)}; get it again"
        )
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)


def _bytes(path: Path) -> bytes:
    zipped = path.with_name(f"{path.name}.gz")
    if path.is_file():
        return path.read_bytes()
    if not zipped.is_file():
        raise ScenarioError(f"{path}: no such file, nor {zipped.name}; download the data set again")
    try:
        return gzip.decompress(zipped.read_bytes())
    except (EOFError, OSError, zlib.error) as error:
        raise ScenarioError(f"{zipped}: damaged ({error}); download it again") from error
