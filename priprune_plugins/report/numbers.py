"""Numbers as a reader wants them: short, with unit, an en dash where there is none."""

import math
from typing import Any

NONE = "\u2013"
_MINUS = "\u2212"
_SPACE = "\u00a0"


def decimal(value: Any, digits: int = 2) -> str:
    """Return ``value`` with a fixed number of decimals."""
    return f"{value:.{digits}f}".replace("-", _MINUS) if _there(value) else NONE


def share(value: Any) -> str:
    """Return a share in [0, 1] as percent."""
    return f"{100 * value:.1f}{_SPACE}%" if _there(value) else NONE


def decibels(value: Any) -> str:
    """Return ``value`` in dB with one decimal."""
    return f"{decimal(value, 1)}{_SPACE}dB" if _there(value) else NONE


def count(value: Any) -> str:
    """Return a whole number with thin spaces between thousands."""
    return f"{int(value):,}".replace(",", "\u2009") if _there(value) else NONE


def size(value: Any) -> str:
    """Return a number of bytes with a binary unit."""
    if not _there(value):
        return NONE
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.3g}{_SPACE}{unit}" if abs(value) < 999.5 else f"{value:.0f}{_SPACE}{unit}"
        value /= 1024
    return NONE


def duration(value: Any) -> str:
    """Return seconds as s, min or h."""
    if not _there(value):
        return NONE
    if value < 120:
        return f"{value:.3g}{_SPACE}s"
    return f"{value / 60:.1f}{_SPACE}min" if value < 7200 else f"{value / 3600:.1f}{_SPACE}h"


def short(value: float) -> str:
    """Return a tick's number: no trailing zeros, at most four significant digits."""
    return f"{value:.4g}".replace("-", _MINUS)


def _there(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
