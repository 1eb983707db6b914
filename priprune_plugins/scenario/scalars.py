"""What a plain YAML scalar means: YAML 1.2, read narrowly.

``null`` and ``~``, ``true`` and ``false``, decimal integers and decimal floats (``1e-3``, ``1E5`` and ``.5e-3`` among
them) are what they look like. Everything else is text as written. So nothing that readers of YAML disagree about
changes its meaning in silence: ``no``, ``on``, ``010``, ``0x10``, ``1_000``, ``1:30`` and ``2026-11-20`` are text, and
where a number or a bool is needed they are refused by name.
"""

import math
import re

from priprune_plugins.scenario.nodes import Scalar

MAX_DIGITS = 300
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


def plain_scalar(text: str) -> Scalar:
    """Return the value of an unquoted scalar.

    Raises:
        ValueError: NaN, infinity, or a number that no float or 300 digits can hold.
    """
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"a number must be finite, got {text}")
    if _INT.fullmatch(text):
        if len(text) > MAX_DIGITS:
            raise ValueError(f"a number must have at most {MAX_DIGITS} digits, got {len(text)}")
        return int(text)
    return _finite(text) if _FLOAT.fullmatch(text) else text


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"a number must be finite, got {text[:40]}")
    return value
