"""Images of many writers, gathered into one array that is ordered by writer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from priprune_plugins.errors import ScenarioError

PIXELS = 28 * 28


def first_writers(counts: Mapping[str, int], limit: int | None) -> list[str]:
    """Return the first ``limit`` of the sorted names that have samples; all where it is None.

    Raises:
        ScenarioError: There are fewer.
    """
    names = sorted(name for name, count in counts.items() if count > 0)
    if limit is not None and limit > len(names):
        raise ScenarioError(f"data.writers must be 1 to {len(names)}, the writers in this folder, got {limit}")
    return names[:limit]


@dataclass(frozen=True, eq=False)
class WriterImages:
    """One place for each image, reserved at once so that no second copy of the pixels is ever made.

    Args:
        writers: Names, sorted.
        pixels: ``[N, 784]`` float32.
        labels: ``[N]`` int64.
        owners: ``[N]`` int64 index into ``writers``, ascending.
        places: Per writer, the next free place and the end of its places.
    """

    writers: list[str]
    pixels: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    owners: npt.NDArray[np.int64]
    places: dict[str, list[int]]

    @classmethod
    def reserve(cls, writers: list[str], counts: Sequence[int]) -> "WriterImages":
        """Return empty places, ``counts[i]`` of them for ``writers[i]``."""
        ends = np.cumsum([0, *counts]).tolist()
        total = ends[-1]
        return cls(
            writers=writers,
            pixels=np.empty((total, PIXELS), np.float32),
            labels=np.empty(total, np.int64),
            owners=np.repeat(np.arange(len(writers)), counts),
            places={name: [ends[i], ends[i + 1]] for i, name in enumerate(writers)},
        )

    def add(self, source: Path, writer: str, pixels: npt.NDArray[np.float32], labels: npt.NDArray[np.int64]) -> None:
        """Put ``pixels [n, 784]`` and ``labels [n]`` into the writer's next places.

        Raises:
            ScenarioError: More than were reserved, images of another size, or pixels outside [0, 1].
        """
        if not labels.size:
            return
        place = self.places[writer]
        start, stop = place[0], place[0] + len(labels)
        if stop > place[1]:
            raise ScenarioError(f"{source}: writer {writer} has more samples than its header says; make the file again")
        if pixels.shape[1:] != (PIXELS,) or not (pixels.min() >= 0 and pixels.max() <= 1):
            raise ScenarioError(f"{source}: writer {writer}: images must be 784 numbers in [0, 1]; make the file again")
        self.pixels[start:stop], self.labels[start:stop] = pixels, labels
        place[0] = stop

    def full(self, source: Path) -> "WriterImages":
        """Return itself once every place is taken.

        Raises:
            ScenarioError: A writer has fewer samples than were reserved.
        """
        for name, (start, stop) in self.places.items():
            if start != stop:
                raise ScenarioError(f"{source}: writer {name} lacks {stop - start} samples; make the files again")
        return self
