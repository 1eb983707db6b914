"""What the server gathers of the clients' extra tensors, some coordinates of which a defence may have withheld."""

import torch
from torch import Tensor

from priprune_plugins import Layout, Upload
from priprune_plugins.messages import State


def gather(state: State, name: str, upload: Upload) -> None:
    """Add the upload's extra ``name``, if it has one, to the running sum in ``state``.

    A secure-aggregation group's extra is the mean of its members and counts as many.
    """
    if name not in upload.extras:
        return
    extra, members = upload.extras[name], len(upload.client_ids)
    if f"{name}.sum" not in state:
        state[f"{name}.sum"] = torch.zeros_like(extra)
        state[f"{name}.holders"] = torch.zeros_like(extra, dtype=torch.int16)
    total, holders = state[f"{name}.sum"], state[f"{name}.holders"]
    if upload.shared is None:
        total.add_(extra, alpha=members)
        holders.add_(members)
    else:
        total.add_(torch.where(upload.shared, extra, 0), alpha=members)
        holders.add_(upload.shared, alpha=members)


def gathered(state: State, name: str, layout: Layout, last: Tensor | None = None) -> Tensor | None:
    """Return the mean over those who sent each coordinate, and empty the sum; None if nobody sent the extra.

    Args:
        state: Where :func:`gather` added up.
        name: Name of the extra.
        layout: Layout of the model.
        last: ``[D]`` the last known value, which stands where nobody sent the coordinate; None = the mean over the
            known coordinates of its layer, or over all known ones in a layer that nobody sent. Never 0: a withheld
            score would look like a worthless weight.
    """
    if f"{name}.sum" not in state:
        return None
    total, holders = state.pop(f"{name}.sum"), state.pop(f"{name}.holders")
    known = holders > 0
    mean: Tensor = total.div_(holders.clamp_min_(1))
    if bool(known.all()):
        return mean
    return torch.where(known, mean, _layer_means(mean, known, layout) if last is None else last)


def _layer_means(values: Tensor, known: Tensor, layout: Layout) -> Tensor:
    overall = values[known].mean() if bool(known.any()) else values.new_zeros(())
    parts = zip(layout.layers(values), layout.layers(known), strict=True)
    return layout.spread(torch.stack([part[seen].mean() if bool(seen.any()) else overall for part, seen in parts]))
