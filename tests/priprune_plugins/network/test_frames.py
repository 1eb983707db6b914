"""Frames: what comes back, what is refused, and that nothing large is made of a lie."""

import json
import socket
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import torch

from priprune_plugins.network.connection import Connection, LostError
from priprune_plugins.network.frames import FrameError, Header, encoded


@pytest.fixture
def there_and_back(pair: tuple[Connection, socket.socket]) -> Callable[[object], Any]:
    """Send a value from the bare socket and return what the connection made of it."""
    connection, other = pair

    def travel(value: object) -> Any:
        other.sendall(b"".join(encoded("left", value)))
        return connection.receive(lambda kind: 10**6).value

    return travel


def test_a_value_comes_back_with_its_bits_types_and_shared_tensors(there_and_back) -> None:
    weights = torch.tensor([0.1, float("nan"), -0.0, float("inf")])
    value = {
        "weights": weights,
        "again": [weights, (1, None, "ü", True, 0.1, float("inf"))],
        7: torch.tensor([[True, False, True]] * 3),
        "scalar": torch.tensor(5, dtype=torch.int64),
        "none": torch.empty(0, 3),
        "half": torch.tensor([1.5], dtype=torch.bfloat16),
    }
    back = there_and_back(value)
    assert back["weights"].view(torch.int32).equal(weights.view(torch.int32))
    assert back["again"][0] is back["weights"]
    assert back["again"][1] == (1, None, "ü", True, 0.1, float("inf"))
    for name in (7, "scalar", "none", "half"):
        assert back[name].dtype == value[name].dtype
        assert back[name].shape == value[name].shape
        assert back[name].equal(value[name])


def test_a_mask_takes_a_bit_a_coordinate() -> None:
    parts = encoded("left", torch.ones(1001, dtype=torch.bool))
    assert [part.nbytes for part in parts[1:]] == [126]


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 40])
def test_masks_of_any_length_come_back(there_and_back, length: int) -> None:
    mask = torch.arange(length) % 3 == 0
    assert torch.equal(there_and_back(mask), mask)


def test_a_frame_of_more_than_is_allowed_is_refused_before_memory_is_taken(pair) -> None:
    connection, other = pair
    header = {"kind": "left", "document": {"tensor": 0, "device": "cpu"}, "tensors": [["float32", [2**33]]]}
    text = json.dumps(header).encode()
    other.sendall(len(text).to_bytes(4, "big") + text)
    tracemalloc.start()
    with pytest.raises(FrameError, match="left of 34359738368 bytes, at most 4000 are allowed"):
        connection.receive(lambda kind: 4000)
    assert tracemalloc.get_traced_memory()[1] < 10**6
    tracemalloc.stop()


def test_a_header_of_more_than_is_allowed_is_refused_unread(pair) -> None:
    connection, other = pair
    other.sendall((2**31).to_bytes(4, "big"))
    with pytest.raises(FrameError, match="a header of 2147483648 bytes, at most 1024"):
        connection.receive(header_bytes=1024)


@pytest.mark.parametrize(
    "text",
    [
        b"\x80\x04N.",
        b"[" * 100_000,
        b'{"kind": "left"}',
        b'{"kind": 1, "document": null, "tensors": []}',
        b'{"kind": "left", "document": null, "tensors": [["object", [1]]]}',
        b'{"kind": "left", "document": null, "tensors": [["float32", [-1]]]}',
        b'{"kind": "left", "document": null, "tensors": [["float32", "12"]]}',
    ],
)
def test_what_is_no_header_is_refused(text: bytes) -> None:
    with pytest.raises(FrameError):
        Header.of(text)


@pytest.mark.parametrize("document", [{"tensor": 3, "device": "cpu"}, {"class": "os.system"}, {"map": [[1]]}])
def test_a_document_that_is_none_of_ours_is_refused(document: object) -> None:
    with pytest.raises(FrameError):
        Header("left", document, []).frame([])


def test_the_other_side_that_says_nothing_is_lost_after_the_silence(pair) -> None:
    connection, _ = pair
    connection.be_patient(0.05)
    with pytest.raises(LostError, match=r"said nothing for 0\.05 s"):
        connection.receive()


def test_the_other_side_that_takes_nothing_is_lost_after_the_silence(pair) -> None:
    connection, _ = pair
    connection.be_patient(0.05)
    with pytest.raises(LostError, match=r"took nothing for 0\.05 s"):
        connection.tell("broadcast", torch.zeros(10**7))


def test_the_other_side_that_leaves_is_lost_at_once(pair) -> None:
    connection, other = pair
    other.close()
    with pytest.raises(LostError, match="closed the connection"):
        connection.receive()
