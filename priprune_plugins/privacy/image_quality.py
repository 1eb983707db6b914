"""How near a reconstruction comes to its image: MSE, PSNR and SSIM, each per image pair, data range 1."""

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

PSNR_CAP_DB = 120.0
SSIM_WINDOW = 7
_LUMINANCE = 0.01**2
_CONTRAST = 0.03**2


def mse(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the mean squared error of each pair.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape.

    Returns:
        ``[B]`` float64.

    Raises:
        ValueError: The shapes differ.
    """
    _same_shape(truth, guess)
    return (truth.double() - guess.double()).square().flatten(1).mean(1)


def psnr_db(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the peak signal-to-noise ratio ``-10 log10(MSE)`` of each pair, in dB.

    Capped at 120 dB (an MSE of 1e-12, below the resolution of float32 pixels), so that an exact reconstruction has a
    finite figure that means can use.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape.

    Returns:
        ``[B]`` float64, at most 120.

    Raises:
        ValueError: The shapes differ.
    """
    return -10.0 * mse(truth, guess).clamp(min=10.0 ** (-PSNR_CAP_DB / 10.0)).log10()


def ssim(truth: Tensor, guess: Tensor) -> Tensor:
    """Return the structural similarity of each pair, as scikit-image computes it by default.

    Uniform 7 x 7 window, sample covariance, K1 = 0.01, K2 = 0.03, data range 1, mean over the windows that lie
    wholly inside the image, then over channels. A departure: an image smaller than 7 pixels takes the largest odd
    window that fits, where scikit-image refuses.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape.

    Returns:
        ``[B]`` float64 in [-1, 1].

    Raises:
        ValueError: The shapes differ, or an image has fewer than 3 rows or columns.

    Reference:
        Wang, Bovik, Sheikh, Simoncelli, "Image Quality Assessment: From Error Visibility to Structural Similarity",
        IEEE Transactions on Image Processing 13(4), 2004, equation 13.
    """
    _same_shape(truth, guess)
    window = _window(truth.shape[-2], truth.shape[-1])
    x, y = truth.double(), guess.double()
    means = [avg_pool2d(image, window, stride=1) for image in (x, y, x * x, y * y, x * y)]
    mean_x, mean_y = means[0], means[1]
    sample = window**2 / (window**2 - 1)
    var_x, var_y = sample * (means[2] - mean_x**2), sample * (means[3] - mean_y**2)
    covariance = sample * (means[4] - mean_x * mean_y)
    structure = (2 * covariance + _CONTRAST) / (var_x + var_y + _CONTRAST)
    luminance = (2 * mean_x * mean_y + _LUMINANCE) / (mean_x**2 + mean_y**2 + _LUMINANCE)
    return (luminance * structure).flatten(1).mean(1)


def _window(height: int, width: int) -> int:
    side = min(SSIM_WINDOW, height, width)
    if side < 3:
        raise ValueError(f"SSIM needs at least 3 x 3 pixels, got {height} x {width}")
    return side - (side % 2 == 0)


def _same_shape(truth: Tensor, guess: Tensor) -> None:
    if truth.shape != guess.shape:
        raise ValueError(f"truth {list(truth.shape)} and guess {list(guess.shape)} differ in shape")


def finite(images: Tensor) -> bool:
    """Return whether every pixel is a finite number."""
    return bool(torch.isfinite(images).all())
