import pytest
import torch

from priprune_plugins.messages import Reconstruction
from priprune_plugins.privacy.measures import measure

TRUTH = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([4, 2, 7])


def reconstruction(images: torch.Tensor, labels: torch.Tensor | None, failed: str | None = None) -> Reconstruction:
    return Reconstruction(images, labels, 0.1, torch.zeros(1), failed)


def test_a_shuffled_exact_guess_is_exact() -> None:
    order = torch.tensor([2, 0, 1])
    got = measure(TRUTH, LABELS, reconstruction(TRUTH[order], LABELS[order]))
    assert (got.nmi, got.ssim, got.psnr_db) == pytest.approx((1.0, 1.0, 120.0))
    assert (got.mse, got.kl, got.label_accuracy, got.failed) == (0.0, 0.0, 1.0, None)
    assert got.order == (1, 2, 0)


def test_the_figure_of_each_image_stays_in_the_order_of_the_truth() -> None:
    guess = TRUTH.clone()
    guess[1] += 0.1 * (0.5 - TRUTH[1]).sign()
    got = measure(TRUTH, LABELS, reconstruction(guess[[1, 0, 2]], None))
    assert got.psnr_db_per_image == pytest.approx((120.0, 20.0, 120.0), abs=1e-4)
    assert got.psnr_db == pytest.approx(260 / 3, abs=1e-4)
    assert got.label_accuracy is None


def test_a_guess_outside_the_range_is_clamped() -> None:
    white = torch.ones(1, 1, 8, 8)
    assert measure(white, LABELS[:1], reconstruction(white * 5, None)).mse == 0.0


@pytest.mark.parametrize("reason", ["diverged", None])
def test_a_failure_counts_as_a_black_picture(reason: str | None) -> None:
    got = measure(TRUTH, LABELS, reconstruction(TRUTH / 0, LABELS, reason))
    black = measure(TRUTH, LABELS, reconstruction(torch.zeros_like(TRUTH), None))
    assert got.failed == (reason or "the reconstruction is not finite")
    assert (got.nmi, got.min_entropy, got.label_accuracy) == pytest.approx((0.0, 0.0, 0.0), abs=1e-12)
    assert (got.psnr_db, got.ssim, got.mse, got.kl) == (black.psnr_db, black.ssim, black.mse, black.kl)


def test_a_guess_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match=r"must have shape \[3, 1, 8, 8\], got \[2, 1, 8, 8\]"):
        measure(TRUTH, LABELS, reconstruction(TRUTH[:2], None))
