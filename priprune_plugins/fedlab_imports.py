"""Import FedLab's classes without the libraries that only its own data sets need.

FedLab's trainers import the base class of its data sets, and with it the package of all of them: torchvision,
scikit-learn and torch's compiler, which take longer to import than torch. That module is loaded on its own first;
whoever imports ``fedlab.contrib.dataset`` later gets the whole package, with the same base class.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from priprune_plugins.quiet_logging import root_logger_untouched

_PACKAGE, _BASE = "fedlab.contrib.dataset", "fedlab.contrib.dataset.basic_dataset"


@contextmanager
def fedlab_imports() -> Iterator[None]:
    """Make imports of FedLab's trainers and handlers inside the block light, and leave the root logger as it was."""
    with root_logger_untouched():
        _load_base_class()
        yield


def _load_base_class() -> None:
    if _PACKAGE in sys.modules or _BASE in sys.modules:
        return
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None:
        return
    sys.modules[_PACKAGE] = importlib.util.module_from_spec(spec)
    try:
        importlib.import_module(_BASE)
    finally:
        del sys.modules[_PACKAGE]
