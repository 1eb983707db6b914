"""CIFAR-10: the real subset, and batches that try to run something."""

import builtins
import os
import pickle

import numpy as np
import pytest
import torch
import torchvision

from priprune_plugins import ScenarioError
from priprune_plugins.data.batches import read_batch
from priprune_plugins.data.cifar10 import MEAN, STD, Cifar10


def _batch(count=2):
    pixels = np.random.default_rng(0).integers(0, 256, (count, 3072), np.uint8)
    return {"data": pixels, "labels": list(range(count)), "batch_label": "test"}


class Calls:
    """Pickles as a call of ``function(*args)``."""

    def __init__(self, function, *args):
        self.call = (function, args)

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", [3, 4])
def test_own_batch_is_read_back(tmp_path, protocol):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps(_batch(), protocol))
    pixels, labels = read_batch(path)
    assert np.array_equal(pixels, _batch()["data"])
    assert labels == [0, 1]


HOSTILE = {
    "system": (Calls(os.system, "touch {marker}"), "system"),
    "eval": (Calls(builtins.eval, "open({marker!r}, 'w').close()"), "builtins.eval"),
    "getattr": (Calls(builtins.getattr, np.ndarray, "tofile"), "builtins.getattr"),
    "import": (Calls(builtins.__import__, "antigravity"), "builtins.__import__"),
    "load": (Calls(np.load, "{marker}"), "numpy.load"),
    "fromfile": (Calls(np.memmap, "{marker}", "u1", "w+", 0, (1,)), "numpy.memmap"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_payload_never_runs_and_the_file_is_named(tmp_path, name, protocol):
    marker = tmp_path / "marker"
    payload, what = HOSTILE[name]
    function, args = payload.call
    filled = Calls(function, *(arg.format(marker=str(marker)) if isinstance(arg, str) else arg for arg in args))
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({"labels": filled}, protocol))
    with pytest.raises(ScenarioError, match=rf"data_batch_1: not read: it names .*{what.split('.')[-1]}"):
        read_batch(path)
    assert not marker.exists()


def test_dotted_name_does_not_reach_inside_an_admitted_class(tmp_path):
    path = tmp_path / "batch"
    path.write_bytes(b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.")
    with pytest.raises(ScenarioError, match=r"numpy\.ndarray\.tofile"):
        read_batch(path)


@pytest.mark.parametrize(
    "opcodes",
    [
        b"cnumpy\nndarray\n}S'x'\nI1\nsb.",
        b"cnumpy.core.multiarray\n_reconstruct\n}S'__doc__'\nI1\nsb.",
        b"cnumpy\ndtype\n(NS'x'\nI1\nd(tb.",
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(L99999999999999L\ntS'b'\ntR.",
        b"Pname\n.",
        b"\x80\x02]",
        b"",
    ],
)
def test_broken_or_tampering_pickle_is_one_clear_error(tmp_path, opcodes):
    path = tmp_path / "batch"
    path.write_bytes(opcodes)
    with pytest.raises(ScenarioError, match="batch: not read"):
        read_batch(path)
    assert np.ndarray.__doc__.startswith("ndarray(shape")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": np.zeros((2, 3072))}, "'data' must be uint8"),
        ({"data": np.zeros((2, 784), np.uint8)}, "'data' must be uint8"),
        ({"labels": [1]}, "'labels' must be a list of 2"),
        ({"labels": [1, 10]}, "whole numbers 0 to 9"),
        ({"labels": [1, "a"]}, "whole numbers 0 to 9"),
    ],
)
def test_other_content_is_refused(tmp_path, change, message):
    path = tmp_path / "batch"
    path.write_bytes(pickle.dumps({**_batch(), **change}, 4))
    with pytest.raises(ScenarioError, match=message):
        read_batch(path)


def test_missing_folder_and_empty_folder_name_the_command(tmp_path):
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ScenarioError, match=rf"{root}.*datasets\.CIFAR10\('{root}'"):
            Cifar10(str(root)).load()


def test_shared_cifar10_equals_torchvision_s(shared):
    data = Cifar10(str(shared / "data/cifar10")).load()
    assert data.train_labels.bincount().tolist() == [500] * 10
    assert data.test_labels.bincount().tolist() == [103, 89, 100, 103, 90, 86, 112, 102, 106, 109]
    assert data.train_images.shape == (5_000, 3, 32, 32)
    unchecked = type("Unchecked", (torchvision.datasets.CIFAR10,), {"_check_integrity": lambda self: True})
    unchecked._load_meta = lambda self: None
    theirs = unchecked(str(shared / "data/cifar10"), train=False)
    assert torch.equal((data.test_images * 255).round().byte().permute(0, 2, 3, 1), torch.from_numpy(theirs.data))
    assert data.test_labels.tolist() == theirs.targets
    assert data.train_images.double().mean((0, 2, 3)).tolist() == pytest.approx(MEAN, abs=5e-5)
    assert data.train_images.double().std((0, 2, 3)).tolist() == pytest.approx(STD, abs=5e-5)
