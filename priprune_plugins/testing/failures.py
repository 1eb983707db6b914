"""How a broken contract reads in a test."""

from collections.abc import Iterator
from contextlib import contextmanager

from priprune_plugins.errors import PriPruneError


def require(condition: object, message: str) -> None:
    """Raise AssertionError with ``message`` unless ``condition``; unlike ``assert`` also under ``python -O``."""
    if not condition:
        raise AssertionError(message)


@contextmanager
def broken_contract() -> Iterator[None]:
    """Turn what the host says of a plugin into the failure of a test."""
    try:
        yield
    except PriPruneError as error:
        raise AssertionError(str(error)) from error
