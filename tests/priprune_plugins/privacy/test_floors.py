import pytest
import torch

from priprune_plugins.messages import LabelledSet
from priprune_plugins.privacy.floors import best_floor_db, floor_images, floors
from priprune_plugins.privacy.image_quality import psnr_db

TRUTH = torch.full((2, 1, 4, 4), 0.5)
LABELS = torch.tensor([1, 2])
MEAN = torch.full((1, 4, 4), 0.4)


def pool(*labels: int) -> LabelledSet:
    images = torch.rand(len(labels), 1, 4, 4, generator=torch.Generator().manual_seed(9))
    return LabelledSet(images, torch.tensor(labels))


def stream() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def test_flat_floors_by_hand() -> None:
    got = floors(TRUTH, LABELS, MEAN, pool(1, 2), stream())
    assert list(got) == ["noise", "black", "white", "mean_image", "same_class"]
    assert got["black"] == got["white"] == {"psnr_db": pytest.approx(6.0206, abs=1e-4), "nmi": 0.0}
    assert got["mean_image"]["psnr_db"] == pytest.approx(20.0, abs=1e-4)
    assert best_floor_db(got) == got["mean_image"]["psnr_db"]


def test_the_other_image_has_the_class_and_is_not_the_truth() -> None:
    images = pool(1, 1, 2, 2)
    truth = images.images[[0, 3]]
    picked = floor_images(truth, LABELS, MEAN, images, stream())["same_class"]
    assert torch.equal(picked, images.images[[1, 2]])


def test_an_image_without_another_of_its_class_counts_in_no_mean() -> None:
    images = pool(1)
    got = floors(TRUTH, LABELS, MEAN, images, stream())
    assert got["same_class"]["psnr_db"] == pytest.approx(psnr_db(TRUTH[:1], images.images).item())
    assert "same_class" not in floors(TRUTH, LABELS, MEAN, pool(5), stream())


def test_the_same_stream_gives_the_same_floors_and_the_global_one_is_left_alone() -> None:
    before = torch.get_rng_state()
    first, second = (floors(TRUTH, LABELS, MEAN, pool(1, 1, 1, 2, 2), stream()) for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.get_rng_state())


def test_a_color_mean_image_keeps_its_shape() -> None:
    truth = torch.rand(2, 3, 4, 4, generator=stream())
    images = floor_images(truth, LABELS, torch.zeros(3, 4, 4), LabelledSet(truth, LABELS), stream())
    assert {picture.shape for picture in images.values()} == {truth.shape}
