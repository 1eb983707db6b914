from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from priprune_plugins.report.pictures import comparison_png, data_uri, picture


def test_the_truth_is_above_and_the_guess_below(tmp_path: Path) -> None:
    truth, guess = torch.ones(2, 1, 28, 28), torch.zeros(2, 1, 28, 28)
    guess[1] = 0.5
    comparison_png(truth, guess, tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png"))[..., 0]
    assert pixels.shape == (112 + 4 + 112, 112 + 4 + 112)
    assert (pixels[:112, :112] == 255).all()
    assert (pixels[116:, :112] == 0).all()
    assert (pixels[116:, 116:] == 128).all()


def test_pixels_are_enlarged_as_squares() -> None:
    drawn = np.asarray(picture(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])))
    assert drawn.shape == (112, 112)
    assert (drawn[:56, :56] == 0).all()
    assert (drawn[:56, 56:] == 255).all()


def test_three_channels_are_colours_and_two_are_their_mean() -> None:
    red = torch.zeros(3, 4, 4)
    red[0] = 1.0
    assert picture(red).getpixel((0, 0)) == (255, 0, 0)
    assert picture(red[:2]).getpixel((0, 0)) == 128


def test_pixels_that_are_no_numbers_are_grey_and_others_are_clamped() -> None:
    drawn = picture(torch.tensor([[[float("nan"), float("inf")], [7.0, -7.0]]]))
    assert [drawn.getpixel(place) for place in ((0, 0), (111, 0), (0, 111), (111, 111))] == [128, 128, 255, 0]


def test_a_picture_in_the_page_is_a_png() -> None:
    assert data_uri(torch.zeros(1, 8, 8)).startswith("data:image/png;base64,iVBORw0KGgo")


def test_pictures_that_do_not_pair_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="must be equal"):
        comparison_png(torch.zeros(1, 1, 2, 2), torch.zeros(2, 1, 2, 2), tmp_path / "a.png")
