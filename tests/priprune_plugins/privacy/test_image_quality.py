import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from priprune_plugins.privacy.image_quality import mse, psnr_db, ssim


def pair(channels: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(channels)
    truth = torch.rand(2, channels, height, width, generator=generator)
    noise = torch.rand(truth.shape, generator=generator)
    return truth, (0.7 * truth + 0.3 * noise).clamp(0, 1)


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 28, 28), (3, 32, 32), (1, 7, 19)])
def test_ssim_equals_scikit_image(channels: int, height: int, width: int) -> None:
    truth, guess = pair(channels, height, width)
    want = [
        structural_similarity(t.numpy(), g.numpy(), data_range=1, channel_axis=0)
        for t, g in zip(truth, guess, strict=True)
    ]
    assert ssim(truth, guess).tolist() == pytest.approx(want, abs=1e-6)


def test_ssim_of_a_small_image_takes_the_largest_odd_window() -> None:
    truth, guess = pair(1, 6, 9)
    want = structural_similarity(truth[0, 0].numpy(), guess[0, 0].numpy(), data_range=1, win_size=5)
    assert ssim(truth, guess)[0].item() == pytest.approx(want, abs=1e-6)


def test_ssim_of_a_line_is_refused() -> None:
    with pytest.raises(ValueError, match="3 x 3"):
        ssim(torch.zeros(1, 1, 2, 9), torch.zeros(1, 1, 2, 9))


def test_psnr_equals_scikit_image_and_20_db_by_hand() -> None:
    truth, guess = pair(3, 8, 8)
    want = peak_signal_noise_ratio(truth[0].numpy(), guess[0].numpy(), data_range=1)
    assert psnr_db(truth, guess)[0].item() == pytest.approx(want, abs=1e-4)
    assert psnr_db(torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 0.1)).item() == pytest.approx(20.0, abs=1e-5)


def test_an_exact_reconstruction_has_120_db() -> None:
    assert psnr_db(torch.ones(1, 1, 2, 2), torch.ones(1, 1, 2, 2)).item() == pytest.approx(120.0)


def test_mse_is_one_figure_per_image() -> None:
    truth = torch.zeros(2, 1, 1, 2)
    guess = torch.tensor([[1.0, 0.0], [0.5, 0.5]]).reshape(2, 1, 1, 2)
    assert mse(truth, guess).tolist() == [0.5, 0.25]
