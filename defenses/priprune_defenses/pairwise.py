"""Pairwise masks: two clients agree on a key that nobody else has, one adds its stream and the other subtracts it.

X25519, SHA-256 and AES-128 in counter mode as random number generator, by pycryptodome.
"""

from hashlib import sha256

import numpy as np
import torch
from Crypto.Cipher import AES
from Crypto.Protocol.DH import key_agreement
from Crypto.PublicKey import ECC
from torch import Tensor

from priprune_plugins.masks import PART

SECRET_BYTES = 16


def key_pair(secret: bytes) -> ECC.EccKey:
    """Return the X25519 key pair that a secret of 16 bytes stands for."""
    return ECC.construct(curve="Curve25519", seed=sha256(b"x25519" + secret).digest())


def agreed_key(own: ECC.EccKey, other: ECC.EccKey) -> bytes:
    """Return the 16 bytes that ``own``'s private and ``other``'s public part give, the same from either side."""
    return key_agreement(
        static_priv=own, static_pub=other.public_key(), kdf=lambda z: sha256(z).digest()[:SECRET_BYTES]
    )


def add_stream_(ring: Tensor, key: bytes, sign: int) -> Tensor:
    """Add a key's stream to ``ring [N]`` int64 on CPU, modulo 2**64 and in place, or subtract it.

    Args:
        ring: Contiguous.
        key: 16 bytes, used for one stream and never again.
        sign: 1 or -1.
    """
    cipher = AES.new(key, AES.MODE_CTR, nonce=b"")
    zeros = memoryview(bytes(8 * min(PART, ring.numel())))
    buffer = bytearray(len(zeros))
    stream = torch.from_numpy(np.frombuffer(buffer, dtype="<i8"))
    for part in torch.split(ring, PART):
        cipher.encrypt(zeros[: 8 * part.numel()], output=memoryview(buffer)[: 8 * part.numel()])
        part.add_(stream[: part.numel()], alpha=sign)
    return ring
