"""CIFAR-10's batch files, which are pickles, read without running anything that a pickle may say."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from priprune_plugins.errors import ScenarioError

# Public arrays tell how numpy rebuilds them; the function's own module was renamed in numpy 2.
_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ADMITTED: dict[tuple[str, str], object] = {
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}
# A broken pickle raises whatever the opcode at which it breaks does.
_BROKEN = (
    pickle.UnpicklingError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    OverflowError,
    MemoryError,
)


class BatchUnpickler(pickle.Unpickler):
    """Rebuilds containers, numbers, text and numpy arrays; any other name in the pickle is refused.

    Only objects written in C are admitted: a pickle can set attributes of Python functions, but not of those.
    """

    def find_class(self, module: str, name: str) -> object:
        """Return the admitted object of that name.

        Raises:
            pickle.UnpicklingError: The name is not admitted; nothing has been imported.
        """
        try:
            return _ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it names {module}.{name}, and only numpy arrays are admitted") from None


def read_batch(path: Path) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Return the pixels ``[N, 3072]``, red, green and blue planes of 32x32, and the labels ``[N]`` of one batch file.

    Raises:
        ScenarioError: The file cannot be read, holds anything but plain values and arrays, or is no such batch.
    """
    content = _unpickled(path)
    if not isinstance(content, dict):
        raise ScenarioError(f"{path}: not a CIFAR-10 batch: a dictionary is expected, got {type(content).__name__}")
    pixels, labels = content.get("data"), content.get("labels")
    if not (
        isinstance(pixels, np.ndarray) and pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.shape[1] == 3072
    ):
        raise ScenarioError(f"{path}: not a CIFAR-10 batch: 'data' must be uint8 [N, 3072]; download it again")
    if not (isinstance(labels, list) and len(labels) == len(pixels)):
        raise ScenarioError(
            f"{path}: not a CIFAR-10 batch: 'labels' must be a list of {len(pixels)}; download it again"
        )
    if not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise ScenarioError(f"{path}: not a CIFAR-10 batch: 'labels' must be whole numbers 0 to 9; download it again")
    return pixels, labels


def _unpickled(path: Path) -> Any:
    try:
        with path.open("rb") as file:
            # The originals were written by Python 2; latin1 is how numpy's bytes survive the way to Python 3.
            return BatchUnpickler(file, encoding="latin1").load()
    except FileNotFoundError:
        raise ScenarioError(f"{path}: no such file; download the data set again") from None
    except _BROKEN as error:
        raise ScenarioError(
            f"{path}: not read: {error}; use the data set's own files, or write a subset with pickle protocol 4"
        ) from error
