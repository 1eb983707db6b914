"""What a client puts into a secure sum, and what the server reads out of it.

A client sends its update times its weight in the mean, 0 where it withholds: an absent coordinate then counts as what
the client was sent. What the server's own mask prunes is left out, unless some client opened a part of it. A pruner's
extra of parameter size is 0 where it is withheld, and how many sent each coordinate is summed beside it, so that its
mean is that over those who did.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from priprune_plugins.masks import applied
from priprune_plugins.messages import Upload
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.summands import GroupSum, Summand

UPDATE = "update"
_SAMPLES, _HOLDERS = "samples", "holders"
_EXTRA, _BUFFER = "extras.", "buffers."


@dataclass(frozen=True)
class SumCodec:
    """Writes summands and reads sums.

    Args:
        codec: Meaning of the algorithm's packs.
        weighting: Weight of a client in the mean.
    """

    codec: Codec
    weighting: Literal["samples", "uniform"]

    def counted(self, uploads: Iterable[Upload]) -> bool:
        """Return whether holders must be counted: a pruner's extra of parameter size was withheld in part."""
        return any(
            upload.shared is not None and any(self._is_own_vector(name, upload) for name in upload.extras)
            for upload in uploads
        )

    def summand(
        self,
        upload: Upload,
        update: Tensor | None,
        present: Tensor | None,
        counted: bool,
        places: Tensor | None = None,
    ) -> Summand:
        """Return a client's part.

        Args:
            upload: What would leave the client without secure sums.
            update: ``[D]``, 0 where it was not sent; None in the setup round, which has none.
            present: ``[D]`` bool, True where the client sends; None = everywhere.
            counted: Whether the round counts holders.
            places: ``[n]`` the coordinates that the base mask leaves of what follows it; None = all.
        """
        vectors = {} if update is None else {UPDATE: update}
        vectors[_SAMPLES] = upload.weights.new_full((1,), upload.num_samples, dtype=torch.float64)
        for name, extra in upload.extras.items():
            own = upload.shared if self._is_own_vector(name, upload) else None
            vectors[_EXTRA + name] = applied(extra, present if name in self.codec.vectors else own)
        vectors |= {_BUFFER + name: buffer for name, buffer in upload.buffers.items()}
        if counted:
            everywhere = torch.ones_like(upload.weights, dtype=torch.bool)
            vectors[_HOLDERS] = everywhere if upload.shared is None else upload.shared
        if places is not None:
            vectors = {name: v[places] if self._is_masked(name) else v for name, v in vectors.items()}
        amount = float(upload.num_samples) if self.weighting == "samples" else 1.0
        return Summand(upload.client_ids[0], vectors, {name: amount for name in vectors if self._is_weighted(name)})

    def dense(self, total: GroupSum, places: Tensor | None, length: int) -> GroupSum:
        """Return a sum with 0 at the coordinates of ``D = length`` that were left out of it."""
        if places is None:
            return total
        vectors = {
            name: vector.new_zeros(length).index_copy_(0, places, vector) if self._is_masked(name) else vector
            for name, vector in total.vectors.items()
        }
        return replace(total, vectors=vectors)

    def mean(self, name: str, total: GroupSum) -> Tensor:
        """Return the mean of a vector over the clients in the sum, weighted where the algorithm weights it."""
        weighted = self.weighting == "samples" and self._is_weighted(name)
        return total.vectors[name] / (num_samples(total) if weighted else len(total.client_ids))

    def upload(self, total: GroupSum, like: Upload, weights: Tensor) -> Upload:
        """Return a group's upload: means, and of masks the share of clients that keep.

        Args:
            total: The sum.
            like: A member's upload, for names and dtypes.
            weights: ``[D]`` mean weights.
        """
        holders = total.vectors.get(_HOLDERS)
        made = Upload(
            client_ids=total.client_ids,
            round_idx=like.round_idx,
            num_samples=num_samples(total),
            weights=weights,
            extras={name: self._extra(name, total, like, holders) for name in like.extras},
            buffers={name: _as(buffer, self.mean(_BUFFER + name, total)) for name, buffer in like.buffers.items()},
        )
        return made if holders is None or bool((holders > 0).all()) else made.withhold(holders == 0)

    def _extra(self, name: str, total: GroupSum, like: Upload, holders: Tensor | None) -> Tensor:
        if holders is not None and self._is_own_vector(name, like):
            return _as(like.extras[name], total.vectors[_EXTRA + name] / holders.clamp_min(1))
        return _as(like.extras[name], self.mean(_EXTRA + name, total))

    def _is_own_vector(self, name: str, upload: Upload) -> bool:
        """Whether an extra is a plugin's own and has one number per parameter."""
        return name not in self.codec.extras and upload.extras[name].shape == upload.weights.shape

    def _is_masked(self, name: str) -> bool:
        """Whether a vector is 0 wherever the client's base mask prunes; a pruner's own need not be."""
        return name == UPDATE or (name.startswith(_EXTRA) and name.removeprefix(_EXTRA) in self.codec.vectors)

    def _is_weighted(self, name: str) -> bool:
        extra = name.removeprefix(_EXTRA)
        aggregated = extra in self.codec.extras and extra not in self.codec.uniform
        return name == UPDATE or name.startswith(_BUFFER) or (name.startswith(_EXTRA) and aggregated)


def num_samples(total: GroupSum) -> int:
    """Return the images of all clients in a sum."""
    return round(float(total.vectors[_SAMPLES]))


def extra_bytes(total: GroupSum) -> dict[str, int]:
    """Return the bytes that each client in a sum sent beside its update and its statistics, by name."""
    extras = {name.removeprefix(_EXTRA): v for name, v in total.vectors.items() if name.startswith((_EXTRA, _HOLDERS))}
    return {name: vector.numel() * total.item_bytes for name, vector in extras.items()}


def other_bytes(total: GroupSum) -> int:
    """Return the bytes of a client's update, statistics and sample count."""
    others = (v for name, v in total.vectors.items() if not name.startswith((_EXTRA, _HOLDERS)))
    return sum(vector.numel() * total.item_bytes for vector in others)


def _as(like: Tensor, mean: Tensor) -> Tensor:
    if like.dtype == torch.bool:
        return mean.float()
    return mean.to(like.dtype) if like.is_floating_point() else mean.round().to(like.dtype)
