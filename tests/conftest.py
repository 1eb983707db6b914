"""Where tests find the shared reference data."""

import os
from pathlib import Path

import pytest

# Before torch is imported: threads that spin while they wait slow the tests down wherever a core is shared.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and oracles; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("PRIPRUNE_SHARED", ROOT.parent / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no shared data at {folder}: set PRIPRUNE_SHARED to its folder")
    return folder
