"""How much of an upload was withheld: coordinates, and the mass of the update behind them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from priprune_plugins.masks import num_kept, part_size
from priprune_plugins.messages import Upload


def withheld_figures(upload: Upload, mask: Tensor | None, start: Tensor, end: Tensor, pruned: bool = False) -> Tensor:
    """Return ``[4]`` float64: coordinates withheld, coordinates that ``mask`` leaves, L1 norm of the update, and of
    what was withheld of it; zeros where nothing may be withheld. No device is waited for.

    Args:
        upload: The final upload.
        mask: ``[D]`` base mask of the client, or None.
        start: ``[D]`` weights when training began.
        end: ``[D]`` weights when it was done.
        pruned: Whether ``mask`` has pruned both, so that nothing outside it changed.
    """
    if upload.shared is None:
        return torch.zeros(4, dtype=torch.float64, device=start.device)
    size = part_size(start)
    withheld: list[Tensor] = []
    masses: list[Tensor] = []
    room = start.new_empty(2, min(size, start.numel()))
    # In parts: a temporary of D numbers costs more time on CPU in page faults than the sums.
    for first in range(0, start.numel(), size):
        part = slice(first, first + size)
        kept, shared = None if mask is None else mask[part], upload.shared[part]
        withheld.append(shared.logical_not() if kept is None else torch.gt(kept, shared))
        masses += _masses(start[part], end[part], None if pruned else kept, withheld[-1], room)
    left = torch.full_like(start[:1], start.numel(), dtype=torch.float64) if mask is None else _count([mask])
    return torch.cat([_count(withheld), left, torch.stack(masses).view(-1, 2).sum(0, dtype=torch.float64)])


def withheld_shares(upload: Upload, figures: Sequence[float]) -> tuple[float, float | None]:
    """Return the withheld rate and the share of gradient mass withheld, None where the update is 0.

    Args:
        upload: The final upload.
        figures: The numbers that :func:`withheld_figures` gives of it.
    """
    if upload.shared is None:
        return 0.0, 0.0
    withheld, left, total, lost = figures
    return withheld / max(left, 1), lost / total if total > 0 else None


def _count(parts: Sequence[Tensor]) -> Tensor:
    """Return ``[1]`` float64, how many are True of all parts; on CPU by numpy, several times faster."""
    if parts[0].device.type == "cpu":
        return torch.tensor([sum(num_kept(part) for part in parts)], dtype=torch.float64)
    return torch.stack([part.count_nonzero() for part in parts]).sum().double().unsqueeze(0)


def _masses(start: Tensor, end: Tensor, mask: Tensor | None, withheld: Tensor, room: Tensor) -> tuple[Tensor, Tensor]:
    """Return the L1 norm of ``start - end`` where ``mask`` keeps, and where it was withheld.

    Args:
        start: ``[n]`` weights when training began.
        end: ``[n]`` weights when it was done.
        mask: ``[n]`` bool, or None.
        withheld: ``[n]`` bool.
        room: ``[2, n]`` or longer, overwritten.
    """
    change, flags = room[:, : start.numel()]
    moved = torch.sub(start, end, out=change).abs_()
    lost = torch.dot(moved, _numbers(withheld, flags))
    return (moved.sum() if mask is None else torch.dot(moved, _numbers(mask, flags))), lost


def _numbers(mask: Tensor, scratch: Tensor) -> Tensor:
    return scratch.copy_(mask.view(torch.uint8))
