import random
import resource
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from priprune_plugins.checkpoint.checkpoints import Checkpoint, Checkpoints, Manifest
from priprune_plugins.checkpoint.client_files import StateFile

CPU = torch.device("cpu")
CLIENTS = {3: StateFile("c00003-0123456789abcdef.safetensors", "0" * 64, 12)}


def written(folder: Path, rounds: tuple[int, ...] = (10, 20), keep: int = 2) -> Checkpoints:
    checkpoints = Checkpoints(folder, keep)
    for next_round in rounds:
        manifest = Manifest(next_round, "training", {"rounds.jsonl": next_round}, CLIENTS, seconds=1.5)
        checkpoints.write(manifest, {"weights": torch.full((40,), float(next_round)), "round": next_round})
    return checkpoints


def newest(checkpoints: Checkpoints) -> Checkpoint | None:
    return checkpoints.newest(CPU, lambda manifest: None)[0]


def is_one_of(found: Checkpoint, rounds: tuple[int, ...]) -> bool:
    number = found.manifest.next_round
    expected = Manifest(number, "training", {"rounds.jsonl": number}, CLIENTS, seconds=1.5)
    weights = torch.full((40,), float(number))
    return (
        number in rounds
        and found.manifest == expected
        and found.state["round"] == number
        and torch.equal(found.state["weights"], weights)
    )


@contextmanager
def no_file_above(num_bytes: int) -> Iterator[None]:
    """A disk on which no file can grow beyond a size."""
    found = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, found[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, found)


def test_the_last_two_are_kept_and_the_newest_is_read(tmp_path: Path) -> None:
    checkpoints = written(tmp_path, (10, 20, 100))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r000020", "r000100"]
    found = newest(checkpoints)
    assert found is not None
    assert is_one_of(found, (100,))


def test_the_hashes_are_those_that_sha256sum_checks(tmp_path: Path) -> None:
    written(tmp_path)
    subprocess.run(["sha256sum", "--check", "--strict", "sha256"], cwd=tmp_path / "r000020", check=True)


def test_after_the_training_its_own_checkpoint_is_the_newest(tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    checkpoints.write(Manifest(20, "trained"), {"weights": torch.zeros(2)})
    assert [manifest.stage for manifest in checkpoints.manifests()] == ["trained", "training"]
    assert not checkpoints.done
    checkpoints.mark_done()
    assert checkpoints.done
    assert [manifest.stage for manifest in checkpoints.manifests()] == ["trained"]


def mutated(content: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    match draw.randrange(4):
        case 0:
            return content[:place] + bytes([content[place] ^ (1 << draw.randrange(8))]) + content[place + 1 :]
        case 1:
            return content[:place] + bytes([draw.randrange(256)]) + content[place:]
        case 2:
            return content[:place] + content[place + 1 :]
        case _:
            return content[:place] + draw.randbytes(8) + content[place + 8 :]


def truncated(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


@pytest.mark.parametrize(("change", "count"), [(mutated, 2000), (truncated, 500)], ids=["mutated", "truncated"])
def test_a_damaged_checkpoint_is_never_loaded(
    change: Callable[[bytes, random.Random], bytes], count: int, tmp_path: Path
) -> None:
    checkpoints, draw = written(tmp_path), random.Random(5)
    latest = tmp_path / "r000020"
    whole = {path.name: path.read_bytes() for path in latest.iterdir()}
    passed_over = 0
    for _ in range(count):
        name = draw.choice(sorted(whole))
        content = change(whole[name], draw)
        latest.mkdir(exist_ok=True)
        for other, bytes_ in whole.items():
            (latest / other).write_bytes(content if other == name else bytes_)
        found = newest(checkpoints)
        assert found is not None
        assert is_one_of(found, (10, 20))
        passed_over += found.manifest.next_round == 10
        assert found.manifest.next_round == 10 or name == "sha256" or content == whole[name]
    assert passed_over > 0.95 * count


def test_where_none_is_whole_none_is_given_and_each_is_named(tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    for path in tmp_path.glob("*/state.safetensors"):
        path.write_bytes(b"")
    found, refused = checkpoints.newest(CPU, lambda manifest: None)
    assert found is None
    assert ["r000020" in refused[0], "r000010" in refused[1]] == [True, True]
    assert len(list(tmp_path.iterdir())) == 2


def test_what_else_is_wrong_with_one_passes_it_over(tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    found, refused = checkpoints.newest(CPU, lambda m: "its clients are gone" if m.next_round == 20 else None)
    assert found is not None
    assert is_one_of(found, (10,))
    assert refused == ["its clients are gone"]
    assert [path.name for path in tmp_path.iterdir()] == ["r000010"]


def test_a_full_disk_leaves_the_checkpoints_before(tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    with no_file_above(2000), pytest.raises(OSError, match="File too large"):
        checkpoints.write(Manifest(30, "training"), {"weights": torch.zeros(10_000)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r000010", "r000020"]
    found = newest(checkpoints)
    assert found is not None
    assert is_one_of(found, (20,))


def test_a_checkpoint_that_was_being_written_is_no_checkpoint(tmp_path: Path) -> None:
    checkpoints = written(tmp_path)
    (tmp_path / "r000020").rename(tmp_path / "r000030.part")
    found = newest(checkpoints)
    assert found is not None
    assert is_one_of(found, (10,))


def test_a_manifest_names_no_file_outside_the_states_folder() -> None:
    with pytest.raises(ValueError, match="no name of a state file"):
        StateFile("../../c00003-0123456789abcdef.safetensors", "0" * 64, 12)


def test_states_are_equal_to_what_was_given(tmp_path: Path) -> None:
    state: Any = {"nested": [{"a": torch.arange(3)}, (1, 2.5, None)]}
    checkpoints = Checkpoints(tmp_path, 1)
    checkpoints.write(Manifest(1, "training"), state)
    found = newest(checkpoints)
    assert found is not None
    assert torch.equal(found.state["nested"][0]["a"], torch.arange(3))
    assert found.state["nested"][1] == (1, 2.5, None)
