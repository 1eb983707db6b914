"""What passes through ``sum_uploads``: vectors that leave their clients only as parts of sums."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Summand:
    """One client's part of a sum, as it lies at the client.

    Args:
        client_id: Index of the client.
        vectors: By name, of any shape and dtype, finite, read-only; the same names and shapes for all of a round.
        factors: What the client multiplies a vector by before it sends it, its number of images for instance; 1 for a
            name that is not there.
    """

    client_id: int
    vectors: Mapping[str, Tensor]
    factors: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class GroupSum:
    """What the server learns of a group of clients.

    Args:
        client_ids: Those who are in the sum, two or more.
        vectors: By name, float64 on the summands' device: ``sum(factor * vector)`` over them.
        item_bytes: Bytes that each client sent for each number.
    """

    client_ids: tuple[int, ...]
    vectors: Mapping[str, Tensor]
    item_bytes: int
