"""Whole numbers on the command line."""

import argparse


def count(text: str) -> int:
    """Return a whole number, at least 1.

    Raises:
        argparse.ArgumentTypeError: It is none.
    """
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"must be a whole number, at least 1, got {text[:60]!r}")
    return int(text)
