import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from priprune_plugins.checkpoint.plain import Packed, UnsavableError, pack, unpack

CPU = torch.device("cpu")
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text() | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def again(value: Any) -> Any:
    packed = pack(value, "value")
    return unpack(Packed(json.loads(json.dumps(packed.document)), packed.tensors), CPU)


@given(VALUES)
@settings(max_examples=200, deadline=None)
def test_plain_values_come_back_with_their_types(value: Any) -> None:
    assert repr(again(value)) == repr(value)


def test_what_is_not_finite_comes_back() -> None:
    back = again([float("nan"), float("inf"), float("-inf")])
    assert back[0] != back[0]
    assert back[1:] == [float("inf"), float("-inf")]


def test_arrays_and_numpy_numbers_come_back() -> None:
    back = again({"array": np.arange(6.0).reshape(2, 3), "number": np.int64(7)})
    assert np.array_equal(back["array"], np.arange(6.0).reshape(2, 3))
    assert back["number"] == 7


def test_one_tensor_in_two_places_is_one_tensor_again() -> None:
    mask = torch.tensor([True, False])
    back = again({"server": mask, "plugin": OrderedDict(mask=mask, other=mask.clone())})
    assert back["server"] is back["plugin"]["mask"]
    assert back["server"] is not back["plugin"]["other"]
    assert torch.equal(back["server"], mask)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"model": object()}, r"state\['model'\] is a object"),
        ([1, {2, 3}], r"state\[1\] is a set"),
        ({(1, 2): 3}, "a key of state is a tuple"),
        ({"s": torch.eye(2).to_sparse()}, r"state\['s'\] is a torch.sparse_coo tensor"),
    ],
)
def test_what_no_file_holds_is_named(value: Any, message: str) -> None:
    with pytest.raises(UnsavableError, match=message):
        pack(value, "state")


def test_a_document_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="a document holds"):
        unpack(Packed({"class": "os.system"}), CPU)
