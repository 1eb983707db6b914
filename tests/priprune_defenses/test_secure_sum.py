"""The protocol: masks cancel bit for bit, one masked vector tells nothing, and a sum opens although clients vanish."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

pytest.importorskip("Crypto.Protocol.DH", reason="the extra [secagg] is not installed")

from Crypto.Cipher import AES

from priprune_defenses.pairwise import add_stream_, agreed_key, key_pair
from priprune_defenses.secure_sum import Member, recovered, secure_sum
from priprune_plugins.masks import PART


def rings(count: int, length: int = 5) -> list[Tensor]:
    """Ring elements over the whole range, so that their sums wrap."""
    stream = torch.Generator().manual_seed(count)
    return [torch.empty(length, dtype=torch.int64).random_(-(2**63), None, generator=stream) for _ in range(count)]


def seeds(count: int) -> list[bytes]:
    return [bytes([place]) * 32 for place in range(count)]


def plain_sum(vectors: list[Tensor]) -> list[int]:
    total = [sum(column) % 2**64 for column in zip(*(vector.tolist() for vector in vectors), strict=True)]
    return [value - 2**64 if value >= 2**63 else value for value in total]


def copies(vectors: list[Tensor]) -> list[Tensor]:
    return [vector.clone() for vector in vectors]


@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_masks_cancel_and_the_vanished_are_made_good_bit_for_bit(data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 7))
    threshold = data.draw(st.integers(2, count))
    arrives = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    vectors = rings(count)
    total = secure_sum(copies(vectors), seeds(count), arrives, threshold)
    survivors = [vector for vector, sent in zip(vectors, arrives, strict=True) if sent]
    if len(survivors) < threshold:
        assert total is None
    else:
        assert total is not None and total.tolist() == plain_sum(survivors)


def test_a_long_vector_is_masked_and_opened_in_all_its_parts() -> None:
    vectors = rings(3, 2 * PART + 3)
    total = secure_sum(copies(vectors), seeds(3), [True, False, True], 2)
    assert total is not None and torch.equal(total, vectors[0] + vectors[2])


def masked(seed: bytes, ring: Tensor) -> Tensor:
    publics = [key_pair(other).public_key() for other in (b"a" * 16, b"b" * 16)]
    member = Member(2, seed)
    return member.masked_(ring.clone(), [*publics, member.keys.public_key()])


def test_a_masked_vector_is_uniform_whatever_was_masked_and_changes_wholly_with_the_key() -> None:
    nothing = torch.zeros(50_000, dtype=torch.int64)
    first, other = masked(b"1" * 32, nothing), masked(b"2" * 32, nothing)
    assert not (first == other).any()
    for bits in (first, first ^ other):
        ones = torch.stack([(bits >> place & 1).double().mean() for place in range(64)])
        # 64 shares of 50,000 fair coins: five deviations of 0.0022 each.
        assert float((ones - 0.5).abs().max()) < 0.0112
    # A mask is added: the difference of two vectors under the same key would be open, so keys serve once.
    assert torch.equal(masked(b"1" * 32, nothing + 7) - first, nothing + 7)


@pytest.mark.parametrize("part", [slice(0, 16), slice(16, 32)], ids=["self mask", "pairwise masks"])
def test_either_mask_alone_still_hides_a_vector(part: slice) -> None:
    nothing = torch.zeros(1000, dtype=torch.int64)
    changed = bytearray(b"1" * 32)
    changed[part] = b"2" * 16
    assert not (masked(bytes(changed), nothing) == masked(b"1" * 32, nothing)).any()


def test_two_clients_agree_on_a_key_that_a_third_does_not_have() -> None:
    one, two, three = (key_pair(bytes([place]) * 16) for place in range(3))
    assert agreed_key(one, two.public_key()) == agreed_key(two, one.public_key())
    assert agreed_key(one, two.public_key()) != agreed_key(one, three.public_key())
    assert len(agreed_key(one, two)) == 16


def test_a_stream_is_that_of_aes_in_counter_mode_from_zero() -> None:
    key = bytes(range(16))
    blocks = AES.new(key, AES.MODE_ECB).encrypt(b"".join(block.to_bytes(16, "big") for block in range(2)))
    expected = [int.from_bytes(blocks[start : start + 8], "little", signed=True) for start in (0, 8, 16, 24)]
    assert add_stream_(torch.zeros(4, dtype=torch.int64), key, 1).tolist() == expected
    assert add_stream_(torch.tensor(expected), key, -1).tolist() == [0] * 4


def test_as_many_shares_as_the_threshold_open_a_secret_and_fewer_do_not() -> None:
    own, secret = Member(0, b"o" * 16 + b"s" * 16).shares(5, 3)
    assert recovered(own, [4, 0, 2]) == b"o" * 16 and recovered(secret, [1, 2, 3]) == b"s" * 16
    assert recovered(own, [4, 0]) != b"o" * 16
