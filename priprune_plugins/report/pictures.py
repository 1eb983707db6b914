"""Images as PNG: a comparison beside each reconstruction, and pictures inside the report."""

import base64
import io
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

MIN_SIDE = 112
_GAP = 4


def comparison_png(truth: Tensor, guess: Tensor, path: Path) -> None:
    """Write one PNG: the true images in a row, each guess below its image.

    Args:
        truth: ``[B, C, H, W]`` in [0, 1].
        guess: Same shape, already in the truth's order; a pixel that is not finite is drawn mid-grey.
        path: The file to write.

    Raises:
        ValueError: The shapes differ, or there is no image.
    """
    if truth.shape != guess.shape or not len(truth):
        raise ValueError(f"truth {list(truth.shape)} and guess {list(guess.shape)} must be equal and hold an image")
    rows = [[picture(image) for image in images] for images in (truth, guess)]
    width, height = rows[0][0].size
    across = len(truth) * (width + _GAP) - _GAP
    sheet = Image.new("RGB", (across, 2 * height + _GAP), "white")
    for row, pictures in enumerate(rows):
        for column, tile in enumerate(pictures):
            sheet.paste(tile, (column * (width + _GAP), row * (height + _GAP)))
    sheet.save(path, format="PNG", optimize=True)


def picture(image: Tensor) -> Image.Image:
    """Return one image ``[C, H, W]`` as a picture of at least 112 pixels a side, each pixel a sharp square.

    One channel is grey, three are colours; of any other number the mean is drawn.
    """
    channels, height, width = image.shape
    values = image.detach().float().cpu().nan_to_num(0.5, posinf=0.5, neginf=0.5).clamp(0, 1)
    shown = values if channels in (1, 3) else values.mean(0, keepdim=True)
    pixels = (shown * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    drawn = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    factor = -(-MIN_SIDE // max(1, min(height, width)))
    return drawn.resize((width * factor, height * factor), Image.Resampling.NEAREST)


def data_uri(image: Tensor) -> str:
    """Return one image ``[C, H, W]`` as a PNG inside a ``data:`` address."""
    buffer = io.BytesIO()
    picture(image).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
