"""LEAF's JSON: small files by hand, odd layouts, damage."""

import gzip
import json
import tracemalloc

import numpy as np
import pytest

from priprune_plugins import ScenarioError
from priprune_plugins.data import leaf
from priprune_plugins.data.leaf import count_samples, leaf_files, read_writers

WRITERS = {
    "f0001_41": {"x": [[0.0, 0.5], [1.0, 0.25]], "y": [3, 61]},
    "a": {"x": [[0.125, 1.0]], "y": [0]},
    "empty": {"x": [], "y": []},
}


def _content(**extra):
    counts = [len(part["y"]) for part in WRITERS.values()]
    return {"users": list(WRITERS), "num_samples": counts, **extra, "user_data": WRITERS}


def _write(path, text):
    data = text.encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("layout", [{}, {"indent": 2}, {"separators": (",", ":")}])
@pytest.mark.parametrize("name", ["a.json", "a.json.gz"])
def test_every_writer_is_read_whatever_the_layout_and_chunk(tmp_path, monkeypatch, chunk, layout, name):
    monkeypatch.setattr(leaf, "_CHUNK_BYTES", chunk)
    path = _write(tmp_path / name, json.dumps(_content(hierarchies=["x"]), **layout))
    read = {writer: (x.tolist(), y.tolist()) for writer, (x, y) in read_writers(path, set(WRITERS))}
    assert read == {writer: (part["x"], part["y"]) for writer, part in WRITERS.items()}
    assert count_samples([path]) == {"f0001_41": 2, "a": 1, "empty": 0}


def test_unwanted_writers_are_skipped(tmp_path):
    path = _write(tmp_path / "a.json", json.dumps(_content()))
    ((name, (pixels, labels)),) = read_writers(path, {"a"})
    assert (name, pixels.dtype, labels.dtype) == ("a", np.float32, np.int64)


def test_file_in_both_forms_is_read_once(tmp_path):
    for name in ("b.json.gz", "a.json.gz", "a.json", "writers.csv"):
        (tmp_path / name).touch()
    assert [path.name for path in leaf_files(tmp_path)] == ["a.json", "b.json.gz"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file ends too early"),
        (json.dumps(_content())[:-60], "the file ends too early"),
        ('{"num_samples": [1], "user_data": {}}', "'users'"),
        ('{"users": ["a"], "num_samples": [], "user_data": {}}', "shorter"),
        (
            '{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [[1], [1, 2]], "y": [1, 2]}}}',
            "inhomogeneous",
        ),
        (
            '{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [[1]], "y": [1, 2]}}}',
            "do not belong together",
        ),
        (
            '{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [["1", "b"]], "y": [1]}}}',
            "could not convert",
        ),
        ('{"users": ["a"], "num_samples": [1], "user_data": {"a": {"x": [[1 2]], "y": [1]}}}', "delimiter"),
        ('{"users": ["a"], "num_samples": [1], "user_data": {"a": {"y": [1]}}}', "'x'"),
    ],
)
def test_damage_names_the_file(tmp_path, text, message):
    path = _write(tmp_path / "bad.json", text)
    with pytest.raises(ScenarioError, match=rf"bad\.json: not read as LEAF's JSON: .*{message}"):
        count_samples([path])
        list(read_writers(path, {"a"}))


def test_damaged_gzip_names_the_file(tmp_path):
    path = tmp_path / "bad.json.gz"
    path.write_bytes(gzip.compress(json.dumps(_content()).encode())[:-20])
    with pytest.raises(ScenarioError, match=r"bad\.json\.gz: not read"):
        list(read_writers(path, {"a"}))


def test_memory_holds_one_writer_and_not_the_file(tmp_path, monkeypatch):
    monkeypatch.setattr(leaf, "_CHUNK_BYTES", 1 << 16)
    pixels = [[round(value, 3) for value in np.random.default_rng(0).random(784).tolist()] for _ in range(20)]
    names = [f"w{index:03}" for index in range(60)]
    writers = {name: {"x": pixels, "y": [0] * 20} for name in names}
    text = json.dumps({"users": names, "num_samples": [20] * 60, "user_data": writers})
    path = _write(tmp_path / "big.json", text)
    num_bytes = len(text)
    del text, writers
    tracemalloc.start()
    assert sum(1 for _ in read_writers(path, set(names))) == 60
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < num_bytes / 4
