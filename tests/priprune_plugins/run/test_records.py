import json
from pathlib import Path

import pytest

from priprune_plugins.run.folder import append_line
from priprune_plugins.run.records import RoundRecords, last_record


@pytest.mark.parametrize("width", [1, 3000, 9000])
def test_the_last_record_is_found_whatever_its_length(width: int, tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    for round_idx in range(4):
        append_line(path, {"round": round_idx, "clients": "x" * width})
    assert last_record(path) == {"round": 3, "clients": "x" * width}


def test_records_are_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rounds.jsonl"
    lines = [{"round": round_idx, "loss": None if round_idx == 1 else 0.1 * round_idx} for round_idx in range(5)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    records = RoundRecords(path, 5)
    assert len(records) == 5
    assert list(records) == list(records) == lines
    assert records[-1] == lines[-1]
    assert records[1:3] == lines[1:3]
    assert records[2] == lines[2]


def test_the_only_record_is_the_last(tmp_path: Path) -> None:
    append_line(tmp_path / "a.jsonl", {"round": 0})
    assert last_record(tmp_path / "a.jsonl") == {"round": 0}
