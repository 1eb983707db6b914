import gzip
import shutil

import numpy as np
import pytest
import torch
import torchvision

from priprune_plugins import ScenarioError
from priprune_plugins.data.idx import read_idx
from priprune_plugins.data.mnist import MEAN, STD, Mnist


def _idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.tobytes()


@pytest.fixture
def folder(tmp_path):
    """Four training and two test images, half of the files gzipped."""
    pixels = np.arange(4 * 28 * 28, dtype=np.uint8).reshape(4, 28, 28)
    labels = np.array([3, 1, 4, 9], np.uint8)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(_idx(pixels))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(labels)))
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(pixels[:2])))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(_idx(labels[:2]))
    return tmp_path


def test_files_are_read_gzipped_or_not(folder):
    data = Mnist(str(folder)).load()
    assert data.train_images.shape == (4, 1, 28, 28)
    assert data.train_images.flatten()[:3].tolist() == pytest.approx([0, 1 / 255, 2 / 255])
    assert data.train_labels.tolist() == [3, 1, 4, 9]
    assert data.test_labels.tolist() == [3, 1]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not an idx file"),
        (b"\x00\x00\x0d\x01\x00\x00\x00\x01\x05", "not an idx file of bytes .header 00 00 0d 01"),
        (_idx(np.zeros((3, 2), np.uint8))[:-1], r"5 bytes of data where its header \[3, 2\] says 6"),
        (_idx(np.zeros(3, np.uint8)) + b"x", "4 bytes of data"),
        (bytes([0, 0, 8, 255, 1]), "not an idx file"),
    ],
)
def test_damaged_idx_is_refused(tmp_path, content, message):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ScenarioError, match=message):
        read_idx(path)


@pytest.mark.parametrize("content", [b"no gzip at all", gzip.compress(_idx(np.zeros(3000, np.uint8)))[:-9]])
def test_damaged_gzip_is_refused(tmp_path, content):
    (tmp_path / "file.gz").write_bytes(content)
    with pytest.raises(ScenarioError, match=r"file\.gz: damaged"):
        read_idx(tmp_path / "file")


def test_labels_of_another_count_are_refused(folder):
    (folder / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(_idx(np.zeros(3, np.uint8))))
    with pytest.raises(ScenarioError, match="do not belong together"):
        Mnist(str(folder)).load()


def test_missing_folder_names_itself_and_the_command(tmp_path):
    with pytest.raises(ScenarioError, match=r"mnist needs the folder .*/nowhere, .*datasets\.MNIST\('.*/nowhere'"):
        Mnist(str(tmp_path / "nowhere")).load()


def test_missing_file_is_named(folder):
    (folder / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(ScenarioError, match="t10k-labels-idx1-ubyte: no such file"):
        Mnist(str(folder)).load()


@pytest.mark.slow
def test_shared_mnist_equals_torchvision_s(shared, tmp_path):
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for path in (shared / "data/mnist/MNIST/raw").glob("*.gz"):
        with gzip.open(path) as source, (raw / path.stem).open("wb") as target:
            shutil.copyfileobj(source, target)
    theirs = torchvision.datasets.MNIST(str(tmp_path), train=True)
    data = Mnist(str(shared / "data/mnist")).load()
    assert (len(data.train_labels), len(data.test_labels)) == (60_000, 9_800)
    assert torch.equal(data.train_images[:, 0], theirs.data.float() / 255)
    assert torch.equal(data.train_labels, theirs.targets)
    assert data.train_images.double().mean().item() == pytest.approx(MEAN[0], abs=5e-5)
    assert data.train_images.double().std().item() == pytest.approx(STD[0], abs=5e-5)
