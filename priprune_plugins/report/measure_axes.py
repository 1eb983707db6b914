"""How a measured figure is written on an axis: its name, its unit, its ticks."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from priprune_plugins.report.numbers import short

_SHARES = {
    "accuracy": "accuracy",
    "client_accuracy": "accuracy on clients' own tests",
    "density": "density",
    "withheld_rate": "withheld of the coordinates",
    "gradient_mass_withheld": "withheld of the gradient mass",
    "attacked_withheld_rate": "withheld of the attacked uploads",
    "attacked_gradient_mass_withheld": "withheld of the attacked gradient mass",
    "label_accuracy": "labels right",
    "top1_share": "true image first",
    "mask_change": "share of the mask changed",
}
_NAMES = {
    "nmi": "NMI; higher leaks more",
    "best_floor_nmi": "NMI of the best floor",
    "psnr_db": "PSNR, dB; higher leaks more",
    "best_floor_psnr_db": "PSNR of the best floor, dB",
    "control_psnr_db": "PSNR of the positive control, dB",
    "ssim": "SSIM; higher leaks more",
    "mse": "MSE; lower leaks more",
    "attack_loss": "attack loss",
    "kl": "KL divergence, bit; lower leaks more",
    "min_entropy": "min-entropy leakage, bit",
    "median_rank": "median rank of the true image",
    "loss": "training loss, cross-entropy",
    "test_loss": "test loss, cross-entropy",
}
_BYTES = {"bytes_up": "uploaded", "bytes_down": "downloaded"}
_UNITS = (("GiB", 2.0**30), ("MiB", 2.0**20), ("KiB", 2.0**10), ("B", 1.0))


@dataclass(frozen=True)
class Axis:
    """One axis.

    Args:
        label: Quantity and unit.
        number: How a tick is written.
        factor: What a value is divided by.
        top: A value that the axis must hold, or None.
    """

    label: str
    number: Callable[[float], str] = short
    factor: float = 1.0
    top: float | None = None


def axis_of(measure: str, values: Iterable[float], levels: int | None = None) -> Axis:
    """Return the axis of a measure.

    Args:
        measure: A column of the results, or a figure of a round.
        values: What is drawn; a number of bytes gets the unit that fits the largest.
        levels: Grey levels of the NMI, where it is one.
    """
    if measure in _SHARES:
        return Axis(f"{_SHARES[measure]}, percent", percent)
    if measure in _BYTES:
        unit, factor = unit_of(values)
        return Axis(f"{_BYTES[measure]}, {unit}", factor=factor)
    name = _NAMES.get(measure, measure.replace("_", " "))
    return Axis(f"{name} ({levels} grey levels)" if levels and measure in ("nmi", "best_floor_nmi") else name)


def unit_of(values: Iterable[float]) -> tuple[str, float]:
    """Return the binary unit that fits the largest of some numbers of bytes, and how many bytes it has."""
    most = max([0.0, *values])
    return next(((name, factor) for name, factor in _UNITS if most >= factor), _UNITS[-1])


def percent(value: float) -> str:
    """Return a tick of a share as percent."""
    return f"{short(100 * value)} %"
