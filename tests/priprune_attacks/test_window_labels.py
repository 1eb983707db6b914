"""Whose labels a joint attack knows before it searches."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from priprune_attacks.histories import History, history_of
from priprune_attacks.window_labels import window_labels


@pytest.fixture
def windows(new_scene: Callable[..., Any], some_digits: Callable[..., Any]) -> tuple[History, History]:
    """One upload of two digits by itself, and among another."""
    images, labels, _ = some_digits(4)
    alone, before = (
        replace(new_scene().observe(images[part], labels[part]), labels=labels[part].sort().values)
        for part in (slice(2), slice(2, 4))
    )
    return history_of(alone, 9, 9, "unknown"), history_of(replace(alone, earlier=[before]), 9, 9, "unknown")


def test_labels_of_an_upload_by_itself_are_counted(windows: tuple[History, History]) -> None:
    found = window_labels(windows[0], (0,), "count", 0)
    assert found is not None and found.tolist() == [0, 1]
    assert window_labels(windows[0], (0,), "joint", 0) is None


def test_among_others_they_are_searched_or_granted_for_all(windows: tuple[History, History]) -> None:
    assert window_labels(windows[1], (0, 1), "count", 0) is None
    # One that is modelled alone within a longer window may sum batches of others as well.
    assert window_labels(windows[1], (1,), "count", 0) is None
    granted = window_labels(windows[1], (0, 1), "true", 0)
    assert granted is not None and granted.tolist() == [2, 3, 0, 1]
