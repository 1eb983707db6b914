"""The ledger of a sweep: one JSON line whenever a cell starts, is done or has failed.

One process writes it, each line in one write that is on the disk before the next begins; a line that a kill or a
full disk cut short is passed over, and the next one begins on a line of its own.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from priprune_plugins.run.folder import finite

RUNNING, DONE, FAILED = "running", "done", "failed"


class Ledger:
    """Appends to a ledger and reads what stands in it.

    Args:
        path: The file; made by the first line.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, key: str, state: str, **figures: Any) -> None:
        """Append one line.

        Args:
            key: The cell's or the training's.
            state: ``running``, ``done`` or ``failed``.
            figures: Whatever else belongs to it.
        """
        line = json.dumps(finite({"key": key, "state": state, **figures})) + "\n"
        with self._path.open("ab+") as file:
            file.write(self._separator(file) + line.encode())
            file.flush()
            os.fsync(file.fileno())

    def last(self) -> dict[str, dict[str, Any]]:
        """Return the last line of each key."""
        if not self._path.is_file():
            return {}
        records = map(_record, self._path.read_bytes().split(b"\n"))
        return {record["key"]: record for record in records if record is not None}

    @staticmethod
    def _separator(file: Any) -> bytes:
        if file.seek(0, os.SEEK_END) == 0:
            return b""
        file.seek(-1, os.SEEK_END)
        return b"" if file.read(1) == b"\n" else b"\n"


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    whole = isinstance(record, Mapping) and {"key", "state"} <= record.keys()
    return dict(record) if whole else None
