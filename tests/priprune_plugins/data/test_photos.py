import numpy as np
import pytest
import torch
from PIL import Image

from priprune_plugins import ScenarioError
from priprune_plugins.data.images import checked
from priprune_plugins.data.photos import Photos


def _save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(array, np.uint8)).save(path)


def test_class_folders_give_their_labels(tmp_path):
    for index in range(5):
        _save(tmp_path / "cat" / f"{index}.png", np.full((4, 4, 3), 10))
        _save(tmp_path / "dog" / f"{index}.PNG", np.full((4, 4, 3), 200))
    data = checked(Photos(str(tmp_path), size=4, test=0.3).load())
    assert (len(data.train_labels), len(data.test_labels), data.num_classes) == (7, 3, 2)
    grey = torch.cat([data.train_images, data.test_images])[:, 0, 0, 0]
    labels = torch.cat([data.train_labels, data.test_labels])
    assert torch.equal(grey, torch.tensor([10, 200])[labels] / 255)


def test_central_square_is_cut(tmp_path):
    wide = np.zeros((2, 6, 3))
    wide[:, 2:4] = 255
    for name in ("a.png", "b.png"):
        _save(tmp_path / name, wide)
    data = Photos(str(tmp_path), size=2).load()
    assert data.train_images.unique().tolist() == [1.0]
    assert data.num_classes == 2


def test_grey_and_transparent_images_become_colour(tmp_path):
    _save(tmp_path / "grey.png", np.full((4, 4), 51))
    _save(tmp_path / "rgba.png", np.full((4, 4, 4), 51))
    data = Photos(str(tmp_path), size=4).load()
    assert torch.cat([data.train_images, data.test_images]).unique().tolist() == [pytest.approx(0.2)]


@pytest.mark.parametrize("files", [(), ("one.png",)])
def test_too_few_images_are_refused(tmp_path, files):
    for name in files:
        _save(tmp_path / name, np.zeros((2, 2, 3)))
    with pytest.raises(ScenarioError, match=f"at least 2 images in .*, got {len(files)}"):
        Photos(str(tmp_path)).load()


def test_broken_image_is_named(tmp_path):
    (tmp_path / "broken.jpg").write_bytes(b"no image")
    _save(tmp_path / "fine.png", np.zeros((2, 2, 3)))
    with pytest.raises(ScenarioError, match=r"broken\.jpg: not read as an image"):
        Photos(str(tmp_path)).load()


def test_shared_photographs_are_six_classes(shared):
    data = checked(Photos(str(shared / "data/photos"), size=32).load())
    assert (len(data.train_labels), len(data.test_labels), data.num_classes) == (5, 1, 6)
    assert sorted([*data.train_labels.tolist(), *data.test_labels.tolist()]) == [0, 1, 2, 3, 4, 5]


def test_shared_crops_come_out_unchanged(shared):
    data = Photos(str(shared / "data/photos/64"), size=64).load()
    with Image.open(sorted((shared / "data/photos/64").iterdir())[data.train_labels[0]]) as picture:
        expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1) / 255
    assert torch.equal(data.train_images[0], expected)
