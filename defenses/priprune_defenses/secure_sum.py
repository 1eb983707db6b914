"""The sum of a group's vectors by double masking, with clients that vanish; every step of it in one process.

Reference: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth, "Practical Secure Aggregation for
Privacy-Preserving Machine Learning", CCS 2017, arXiv:1611.04482, Figure 4 against a server that keeps to the protocol.
"""

from collections.abc import Iterable, Sequence
from functools import cached_property

from Crypto.Protocol.SecretSharing import Shamir
from Crypto.PublicKey import ECC
from torch import Tensor

from priprune_defenses.pairwise import SECRET_BYTES, add_stream_, agreed_key, key_pair

Share = tuple[int, bytes]


class Member:
    """A client's side of one round.

    Args:
        place: Its place in the group, from 0.
        seed: 32 bytes of its own randomness: the key of its self mask, and the secret behind its pairwise keys.
    """

    def __init__(self, place: int, seed: bytes) -> None:
        self.place = place
        self.own, self.secret = seed[:SECRET_BYTES], seed[SECRET_BYTES:]

    @cached_property
    def keys(self) -> ECC.EccKey:
        """Its key pair; the server passes the public part on to the others."""
        return key_pair(self.secret)

    def shares(self, count: int, threshold: int) -> tuple[list[Share], list[Share]]:
        """Return Shamir shares of the self mask's key and of the secret, one of each for every member.

        The library draws the polynomials from the operating system: no figure depends on them.
        """
        own, secret = (Shamir.split(threshold, count, part) for part in (self.own, self.secret))
        return own, secret

    def masked_(self, ring: Tensor, publics: Sequence[ECC.EccKey]) -> Tensor:
        """Add the self mask and every pairwise mask to ``ring [N]``, in place: what leaves the client."""
        add_stream_(ring, self.own, 1)
        for other, public in enumerate(publics):
            if other != self.place:
                add_stream_(ring, agreed_key(self.keys, public), sign(self.place, other))
        return ring


def sign(place: int, other: int) -> int:
    """Return whether the member at ``place`` adds (1) or subtracts (-1) the mask that it has with another."""
    return 1 if place < other else -1


def secure_sum(
    rings: Iterable[Tensor], seeds: Sequence[bytes], arrives: Sequence[bool], threshold: int
) -> Tensor | None:
    """Return the sum modulo 2**64 over the members whose vectors arrive, or None where too few do.

    Everybody has dealt out shares before anybody vanishes. Of a member that arrives the others reveal shares of its
    self mask's key, of one that vanished those of its secret, never both: either alone leaves its vector masked.

    Args:
        rings: Each member's ``[N]`` int64 on CPU, read in turn and overwritten.
        seeds: 32 bytes for each.
        arrives: False for a member that vanishes after it has masked.
        threshold: How many shares open a secret, at least 2.
    """
    members = [Member(place, seed) for place, seed in enumerate(seeds)]
    publics = [member.keys.public_key() for member in members]
    dealt = [member.shares(len(members), threshold) for member in members]
    total: Tensor | None = None
    for member, ring, sent in zip(members, rings, arrives, strict=True):
        if sent:
            upload = member.masked_(ring, publics)
            total = upload if total is None else total.add_(upload)
    survivors = [place for place, sent in enumerate(arrives) if sent]
    if total is None or len(survivors) < threshold:
        return None
    opened = survivors[:threshold]
    for place, (own, secret) in enumerate(dealt):
        if arrives[place]:
            add_stream_(total, recovered(own, opened), -1)
        else:
            _unpair_(total, place, key_pair(recovered(secret, opened)), survivors, publics)
    return total


def recovered(shares: Sequence[Share], holders: Sequence[int]) -> bytes:
    """Return the secret behind ``shares``, from those that the members at the places ``holders`` reveal."""
    return Shamir.combine([shares[holder] for holder in holders])


def _unpair_(
    total: Tensor, vanished: int, keys: ECC.EccKey, survivors: Sequence[int], publics: Sequence[ECC.EccKey]
) -> None:
    """Add to the survivors' sum the pairwise masks that the vanished member would have brought, in place."""
    for survivor in survivors:
        add_stream_(total, agreed_key(keys, publics[survivor]), sign(vanished, survivor))
