"""Files of a run folder are on the disk before they have their names."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from priprune_plugins.run.folder import write_json, write_tensors


@pytest.mark.parametrize(
    "write",
    [
        lambda path: write_json(path, {"accuracy": 0.5}),
        lambda path: write_tensors(path, {"upload": torch.ones(3)}, {"round": 0}),
    ],
    ids=["summary", "capture"],
)
def test_a_file_is_synced_before_it_is_named_and_its_folder_after(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, found, real = tmp_path / "file", [], os.fsync

    def fsync(opened: int) -> None:
        found.append((Path(f"/proc/self/fd/{opened}").readlink().name, path.exists()))
        real(opened)

    monkeypatch.setattr(os, "fsync", fsync)
    write(path)
    (part, named), (folder, then) = found
    assert part.startswith("file.") and part.endswith("part") and not named
    assert folder == tmp_path.name and then
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
