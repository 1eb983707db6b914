"""The rounds of a run as a sequence that lies on disk: a run of any length takes the memory of one round."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, overload

from priprune_plugins.run.folder import read_lines

Record = dict[str, Any]


class RoundRecords(Sequence[Record]):
    """The records of rounds.jsonl, read anew at each pass; NaN and infinity are None in them.

    Args:
        path: The file; it is not written to any more.
        count: How many rounds it holds.
    """

    def __init__(self, path: Path, count: int) -> None:
        self._path = path
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Record]:
        return read_lines(self._path)

    @overload
    def __getitem__(self, index: int) -> Record: ...

    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...

    def __getitem__(self, index: int | slice) -> Record | list[Record]:
        if isinstance(index, slice):
            return list(self)[index]
        return last_record(self._path) if index == -1 else list(self)[index]


def last_record(path: Path) -> Record:
    """Return the last record of a JSON-lines file, without reading the others."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        tail, step = b"", 4096
        while tail.rstrip(b"\n").count(b"\n") == 0 and len(tail) < end:
            step *= 2
            file.seek(max(0, end - step))
            tail = file.read()
    record: Record = json.loads(tail.splitlines()[-1])
    return record
