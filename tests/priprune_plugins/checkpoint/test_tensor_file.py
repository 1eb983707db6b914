from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from priprune_plugins.checkpoint.tensor_file import DTYPES, named_parts

# Every dtype, against the order of names, with shapes from a scalar to an empty one.
TENSORS = {f'{9 - index} of "ü"': torch.arange(6).to(dtype) for index, dtype in enumerate(DTYPES)}
TENSORS |= {"scalar": torch.tensor(1.5), "empty": torch.empty(0, 3), "matrix": torch.ones(2, 3)}


def written(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None) -> bytes:
    path.write_bytes(b"".join(bytes(part) for part in named_parts(tensors, metadata)))
    return path.read_bytes()


@pytest.mark.parametrize("metadata", [None, {"about": '{"round": 3}'}])
def test_the_bytes_are_those_of_the_safetensors_package(tmp_path: Path, metadata: dict[str, str] | None) -> None:
    save_file(TENSORS, tmp_path / "theirs", metadata=metadata)
    assert written(tmp_path / "ours", TENSORS, metadata) == (tmp_path / "theirs").read_bytes()


def test_a_view_that_is_not_contiguous_is_read_back_as_it_was(tmp_path: Path) -> None:
    view = torch.arange(12.0).view(3, 4).t()[1:]
    written(tmp_path / "file", {"view": view}, None)
    assert torch.equal(load_file(tmp_path / "file")["view"], view)


def test_a_dtype_without_a_word_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^phases is a tensor of torch\.complex64"):
        list(named_parts({"phases": torch.ones(2, dtype=torch.complex64)}))
