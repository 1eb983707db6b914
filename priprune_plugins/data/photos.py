"""A folder of photographs."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from priprune_plugins.data.folders import find_folder
from priprune_plugins.data.images import ImageData
from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator
from priprune_plugins.options import Count, Rate

# ImageNet's, as torchvision prints them: a mean of the user's own photographs would publish something about them.
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_SUFFIXES = {".bmp", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"}
_HINT = "put photographs into it, or one sub-folder of photographs per class"


@dataclass(frozen=True, eq=False)
class Photos:
    """Photographs in colour, cut to their central square and resized by Lanczos' filter.

    Args:
        root: Folder of photographs, each a class of its own; where it holds none itself, of one sub-folder per class.
        size: Side of the images in pixels.
        test: Share of the images kept for the test, drawn by a fixed seed; at least one. None of them is ever trained
            on, so that the public mean image shows nothing of a victim.
    """

    root: str = "data/photos"
    size: Count = 64
    test: Rate = 0.2

    def load(self) -> ImageData:
        """Return the images, ``[N, 3, size, size]``."""
        folder = find_folder("photos", self.root, ".", _HINT)
        classes = _classes(folder)
        paths = [path for members in classes for path in members]
        if len(paths) < 2:
            raise ScenarioError(f"data.root: photos needs at least 2 images in {folder}, got {len(paths)}; {_HINT}")
        images = torch.stack([_picture(path, self.size) for path in paths])
        labels = torch.tensor([label for label, members in enumerate(classes) for _ in members])
        order = torch.randperm(len(paths), generator=generator(0, "photos"))
        num_test = max(1, round(self.test * len(paths)))
        test, train = order[:num_test].sort().values, order[num_test:].sort().values
        return ImageData(images[train], labels[train], images[test], labels[test], len(classes), MEAN, STD)


def _classes(folder: Path) -> list[list[Path]]:
    """Return the image files of each class, in the order of their names."""
    flat = _images(folder.iterdir())
    if flat:
        return [[path] for path in flat]
    inside = [_images(sub.rglob("*")) for sub in sorted(folder.iterdir()) if sub.is_dir()]
    return [members for members in inside if members]


def _images(paths: Iterable[Path]) -> list[Path]:
    return sorted(path for path in paths if path.suffix.lower() in _SUFFIXES and path.is_file())


def _picture(path: Path, size: int) -> Tensor:
    """Return one photograph, upright, ``[3, size, size]`` in [0, 1]."""
    try:
        with Image.open(path) as file:
            upright = ImageOps.exif_transpose(file).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ScenarioError(f"{path}: not read as an image: {error}; remove or replace it") from error
    square = ImageOps.fit(upright, (size, size), Image.Resampling.LANCZOS)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1).float().div_(255)
