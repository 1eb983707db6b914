from pathlib import Path

import pytest

from priprune_plugins.sweep.parquet import write_parquet

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed: uv run --extra parquet")


def test_a_column_keeps_its_type_and_one_of_several_kinds_is_text(tmp_path: Path) -> None:
    rows = [
        {"rate": 0.3, "seed": 1, "passed": True, "mixed": 0.3, "nmi": None},
        {"rate": 1, "seed": 2, "passed": None, "mixed": "none", "later": "x"},
    ]
    assert write_parquet(tmp_path / "results.parquet", rows)
    table = parquet.read_table(tmp_path / "results.parquet")
    assert table.to_pydict() == {
        "rate": [0.3, 1.0],
        "seed": [1, 2],
        "passed": [True, None],
        "mixed": ["0.3", "none"],
        "nmi": [None, None],
        "later": [None, "x"],
    }
    assert [str(table.schema.field(name).type) for name in ("rate", "seed", "passed", "mixed")] == [
        "double",
        "int64",
        "bool",
        "string",
    ]
    assert [path.name for path in tmp_path.iterdir()] == ["results.parquet"]


def test_no_results_make_an_empty_table(tmp_path: Path) -> None:
    assert write_parquet(tmp_path / "results.parquet", [])
    assert parquet.read_table(tmp_path / "results.parquet").num_rows == 0


def test_without_pyarrow_nothing_stale_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "results.parquet").write_bytes(b"old")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert not write_parquet(tmp_path / "results.parquet", [{"a": 1}])
    assert not list(tmp_path.iterdir())
