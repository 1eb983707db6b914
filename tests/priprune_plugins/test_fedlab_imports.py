"""FedLab's trainers come without the libraries that only its own data sets need."""

import subprocess
import sys

import pytest

LIGHT = """
import sys
import priprune_plugins.simulation.algorithms.fedavg
from priprune_plugins.simulation.batches import RoundDataset
heavy = [name for name in ("torchvision", "sklearn", "pandas", "torch._dynamo") if name in sys.modules]
assert "fedlab.core.client.trainer" in sys.modules and not heavy, heavy
"""
WHOLE = """
from fedlab.contrib.dataset import PathologicalMNIST
from fedlab.contrib.dataset.basic_dataset import FedDataset
assert issubclass(PathologicalMNIST, FedDataset) and issubclass(RoundDataset, FedDataset)
"""


def test_a_trainer_brings_no_library_of_fedlabs_data_sets() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", LIGHT], check=True)


@pytest.mark.slow
def test_fedlabs_data_sets_are_whole_for_whoever_imports_them() -> None:
    subprocess.run([sys.executable, "-W", "ignore", "-c", LIGHT + WHOLE], check=True)
