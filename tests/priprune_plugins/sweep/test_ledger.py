import json
from pathlib import Path

from priprune_plugins.sweep.ledger import DONE, FAILED, RUNNING, Ledger


def test_the_last_line_of_a_key_counts(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    assert ledger.last() == {}
    ledger.write("a", RUNNING)
    ledger.write("b", FAILED, error="no luck")
    ledger.write("a", DONE, seconds=float("nan"))
    assert ledger.last() == {
        "a": {"key": "a", "state": "done", "seconds": None},
        "b": {"key": "b", "state": "failed", "error": "no luck"},
    }


def test_a_line_cut_anywhere_loses_itself_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    whole = b'{"key": "a", "state": "done"}\n'
    cut = '{"key": "b", "state": "dône"}'.encode()
    for length in range(len(cut)):
        path.write_bytes(whole + cut[:length])
        ledger = Ledger(path)
        assert list(ledger.last()) == ["a"]
        ledger.write("c", RUNNING)
        assert {key: line["state"] for key, line in ledger.last().items()} == {"a": "done", "c": "running"}


def test_lines_of_something_else_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(b'[1]\n{"key": "a"}\n\n\xff\n{"key": "b", "state": "done"}\n')
    assert list(Ledger(path).last()) == ["b"]


def test_every_line_is_whole_json(tmp_path: Path) -> None:
    path = tmp_path / "ledger.jsonl"
    ledger = Ledger(path)
    ledger.write("a", FAILED, error="two\nlines")
    assert [json.loads(line)["error"] for line in path.read_text().splitlines()] == ["two\nlines"]
