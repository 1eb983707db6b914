from pathlib import Path

import pytest
import torch

from priprune_plugins.checkpoint.client_files import ClientFiles
from priprune_plugins.checkpoint.state_file import DamagedFileError


@pytest.fixture
def files(tmp_path: Path) -> ClientFiles:
    return ClientFiles(tmp_path / "clients", torch.device("cpu"))


def names(files: ClientFiles) -> list[str]:
    return sorted(path.name for path in files.folder.iterdir())


def test_a_version_is_written_once_and_read_back(files: ClientFiles) -> None:
    first = files.write(7, {"w": torch.ones(3)})
    assert files.write(7, {"w": torch.ones(3)}) == first
    second = files.write(7, {"w": torch.zeros(3)})
    assert names(files) == sorted([first.name, second.name])
    assert torch.equal(files.read(first)["w"], torch.ones(3))
    assert first.num_bytes == (files.folder / first.name).stat().st_size


def test_a_version_that_a_checkpoint_holds_is_not_discarded(files: ClientFiles) -> None:
    held, other = files.write(1, {"a": 1}), files.write(2, {"a": 2})
    files.pinned = frozenset({held.name})
    files.discard(held)
    files.discard(other)
    assert names(files) == [held.name]
    files.check(held)


def test_collecting_removes_what_a_killed_process_left_and_nothing_of_others(files: ClientFiles) -> None:
    needed, leftover = files.write(1, {"a": 1}), files.write(2, {"a": 2})
    for name in ("client.part", "notes.txt"):
        (files.folder / name).touch()
    files.sync()
    files.collect({needed.name})
    assert leftover.name not in names(files)
    assert names(files) == sorted([needed.name, "notes.txt"])


def test_a_lost_or_changed_file_is_never_read(files: ClientFiles) -> None:
    file = files.write(1, {"w": torch.ones(3)})
    path = files.folder / file.name
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(DamagedFileError, match="damaged"):
        files.read(file)
    path.unlink()
    with pytest.raises(DamagedFileError, match="cannot be read"):
        files.check(file)
