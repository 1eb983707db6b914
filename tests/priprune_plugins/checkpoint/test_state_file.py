import hashlib
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from priprune_plugins.checkpoint.plain import UnsavableError
from priprune_plugins.checkpoint.state_file import DamagedFileError, read_state, write_state

CPU = torch.device("cpu")
TENSORS = {
    "odd mask": torch.tensor([True, False, True]),
    "float": torch.tensor([1.5, float("nan"), -0.0]),
    "double": torch.linspace(0, 1, 7, dtype=torch.float64),
    "half": torch.tensor([1.0, 2.0], dtype=torch.float16),
    "brain": torch.tensor([[1.0], [3.0]], dtype=torch.bfloat16),
    "counter": torch.tensor(5, dtype=torch.int64),
    "short": torch.tensor([1, 2, 3], dtype=torch.int16),
    "empty": torch.zeros(0, 3),
    "turned": torch.arange(6.0).reshape(2, 3).T,
}


class Hostile:
    """Leaves a file where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return Path.touch, (self.mark,)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    parts = [tensor.contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(*parts)


def test_every_type_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    back = read_state(path, write_state(path, {"plugin": TENSORS, "rounds": 3}, "it"), CPU)
    assert back["rounds"] == 3
    assert all(same_bits(back["plugin"][name], tensor) for name, tensor in TENSORS.items())


def test_the_file_is_safetensors_to_the_package_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    write_state(path, list(TENSORS.values()), "it")
    read = load_file(path)
    assert all(same_bits(read[str(index)], tensor) for index, tensor in enumerate(TENSORS.values()))


def test_the_same_state_has_the_same_hash_and_another_has_another(tmp_path: Path) -> None:
    hashes = [
        write_state(tmp_path / name, {"w": torch.full((3,), value)}, "it")
        for name, value in zip("abc", (1.0, 1.0, 2.0), strict=True)
    ]
    assert hashes[0] == hashes[1] != hashes[2]


def test_writing_to_what_was_read_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    digest = write_state(path, {"w": torch.ones(4096)}, "it")
    read_state(path, digest, CPU)["w"].add_(1)
    assert torch.equal(read_state(path, digest, CPU)["w"], torch.ones(4096))


def test_what_no_file_holds_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnsavableError, match="complex64"):
        write_state(tmp_path / "a.safetensors", torch.ones(2, dtype=torch.complex64), "it")
    assert not list(tmp_path.iterdir())


def test_a_lost_file_and_another_file_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    digest = write_state(path, {"w": torch.ones(3)}, "it")
    write_state(path, {"w": torch.zeros(3)}, "it")
    with pytest.raises(DamagedFileError, match="sha256 is not the one written down"):
        read_state(path, digest, CPU)
    path.unlink()
    with pytest.raises(DamagedFileError, match="No such file"):
        read_state(path, digest, CPU)


def test_a_pickle_in_its_place_is_never_executed(tmp_path: Path) -> None:
    path, mark = tmp_path / "a.safetensors", tmp_path / "executed"
    torch.save(Hostile(mark), path)
    for content in (pickle.dumps(Hostile(mark)), path.read_bytes()):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError):
            read_state(path, hashlib.sha256(content).hexdigest(), CPU)
    assert not mark.exists()
    # The mark works: this is what unpickling would have done.
    pickle.loads(pickle.dumps(Hostile(mark)))  # noqa: S301
    assert mark.exists()
