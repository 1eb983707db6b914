"""FEMNIST: the real subset in both of its forms, and what is refused."""

import csv
import gzip
import io
import json
import sys
from collections import Counter

import numpy as np
import pytest
import torch
from PIL import Image

from priprune_plugins import ScenarioError
from priprune_plugins.data.femnist import MEAN, STD, Femnist
from priprune_plugins.data.images import checked
from priprune_plugins.data.leaf import count_samples, leaf_files


def _write_leaf(root, train, test):
    for part, writers in (("train", train), ("test", test)):
        (root / part).mkdir()
        users, counts = list(writers), [len(labels) for labels in writers.values()]
        data = {name: {"x": [[0.25] * 784] * len(labels), "y": labels} for name, labels in writers.items()}
        content = {"users": users, "num_samples": counts, "user_data": data}
        (root / part / "all.json").write_text(json.dumps(content))


def test_writers_are_sorted_and_only_those_with_training_images_stay(tmp_path):
    _write_leaf(tmp_path, {"b": [1, 2], "a": [3], "c": [4]}, {"a": [5, 6], "z": [7], "c": [8]})
    data = checked(Femnist(str(tmp_path)).load())
    assert data.writers == ["a", "b", "c"]
    assert data.train_labels.tolist() == [3, 1, 2, 4]
    assert data.train_writers.tolist() == [0, 1, 1, 2]
    assert data.test_labels.tolist() == [5, 6, 8]
    assert data.test_writers.tolist() == [0, 0, 2]
    assert data.train_images.unique().tolist() == [0.75]
    assert Femnist(str(tmp_path), invert=False).load().train_images.unique().tolist() == [0.25]


def test_first_writers_of_the_sorted_ids_are_taken(tmp_path):
    _write_leaf(tmp_path, {"b": [1, 2], "a": [3], "c": [4]}, {"a": [5], "b": [6], "c": [7]})
    data = Femnist(str(tmp_path), writers=2).load()
    assert (data.writers, data.test_labels.tolist()) == (["a", "b"], [5, 6])
    with pytest.raises(ScenarioError, match=r"data\.writers must be 1 to 3, .* got 4"):
        Femnist(str(tmp_path), writers=4).load()


def test_headers_that_lie_and_wrong_pixels_are_refused(tmp_path):
    _write_leaf(tmp_path, {"a": [3]}, {"a": [5]})
    path = tmp_path / "train" / "all.json"
    good = path.read_text()
    for old, new, message in [
        ('"num_samples": [1]', '"num_samples": [2]', "writer a lacks 1 samples"),
        ('"y": [3]', '"y": [62]', "labels must be 0 to 61, got 62"),
        ("0.25]]", "1.25]]", r"784 numbers in \[0, 1\]"),
        ("0.25]]", "NaN]]", r"784 numbers in \[0, 1\]"),
        ("0.25]]", "0.25, 0.25]]", "784 numbers"),
    ]:
        path.write_text(good.replace(old, new))
        with pytest.raises(ScenarioError, match=message):
            Femnist(str(tmp_path)).load()


@pytest.mark.parametrize("made", [(), ("train",)])
def test_missing_folder_says_what_to_do(tmp_path, made):
    root = tmp_path / "femnist"
    for part in made:
        (root / part).mkdir(parents=True)
    with pytest.raises(ScenarioError, match=r"data\.root: .*femnist.*preprocess\.sh"):
        Femnist(str(root)).load()


def test_shared_headers_count_the_recorded_samples(shared):
    train, test = (count_samples(leaf_files(shared / "data/femnist" / part)) for part in ("train", "test"))
    assert (len(train), train.total(), test.total()) == (264, 37_014, 4_249)


@pytest.mark.slow
def test_shared_writers_have_the_recorded_counts_and_pixels(shared):
    data = checked(Femnist(str(shared / "data/femnist"), invert=False).load())
    assert (len(data.train_labels), len(data.test_labels), len(data.writers)) == (37_014, 4_249, 264)
    assert len(torch.cat([data.train_labels, data.test_labels]).unique()) == 62
    with (shared / "data/femnist/writers.csv").open() as file:
        recorded = {row["writer"]: int(row["train_samples"]) for row in csv.DictReader(file)}
    counts = Counter(data.train_writers.tolist())
    assert {name: counts[index] for index, name in enumerate(data.writers)} == recorded
    with gzip.open(sorted((shared / "data/femnist/train").glob("*.gz"))[1], "rt") as file:
        parsed = json.load(file)["user_data"]
    name = min(parsed)
    mine = data.train_writers == data.writers.index(name)
    assert torch.equal(data.train_images[mine].flatten(1), torch.tensor(parsed[name]["x"]))
    assert data.train_labels[mine].tolist() == parsed[name]["y"]
    assert 1 - data.train_images.double().mean().item() == pytest.approx(MEAN[0], abs=5e-5)
    assert data.train_images.double().std().item() == pytest.approx(STD[0], abs=5e-5)


def _png(pixels):
    file = io.BytesIO()
    Image.fromarray((pixels.reshape(28, 28) * 255).round().byte().numpy()).save(file, "PNG")
    return {"bytes": file.getvalue(), "path": None}


@pytest.fixture
def parquet(shared, tmp_path):
    """The shared training images of three writers as two parquet files, and the same as LEAF gives them."""
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    data = Femnist(str(shared / "data/femnist"), writers=3, invert=False).load()
    rows = torch.randperm(len(data.train_labels), generator=torch.Generator().manual_seed(0)).tolist()
    table = pa.table(
        {
            "image": [_png(data.train_images[row]) for row in rows],
            "writer_id": [data.writers[data.train_writers[row]] for row in rows],
            "hsf_id": [0] * len(rows),
            "character": data.train_labels[rows].tolist(),
        }
    )
    (tmp_path / "data").mkdir()
    pq.write_table(table[:150], tmp_path / "data" / "train-00000-of-00002.parquet")
    pq.write_table(table[150:], tmp_path / "data" / "train-00001-of-00002.parquet")
    return tmp_path, data


def _sorted_rows(images, labels, writers):
    """Images as rows of grey levels with label and writer, in an order that does not depend on the split."""
    rows = torch.cat([(images.flatten(1) * 255).round().long(), labels[:, None], writers[:, None]], 1)
    return sorted(rows.tolist())


def test_parquet_gives_the_same_images_split_nine_to_one_per_writer(parquet):
    root, source = parquet
    data = checked(Femnist(str(root), invert=False).load())
    counts = Counter(source.train_writers.tolist())
    assert data.writers == source.writers
    assert Counter(data.train_writers.tolist()) == {writer: int(0.9 * count) for writer, count in counts.items()}
    both = [torch.cat(pair) for pair in (
        (data.train_images, data.test_images), (data.train_labels, data.test_labels),
        (data.train_writers, data.test_writers))]  # fmt: skip
    assert _sorted_rows(*both) == _sorted_rows(source.train_images, source.train_labels, source.train_writers)


def test_parquet_split_of_a_writer_does_not_depend_on_the_others(parquet):
    root, _ = parquet
    one, three = Femnist(str(root), writers=1).load(), Femnist(str(root)).load()
    assert torch.equal(one.train_images, three.train_images[three.train_writers == 0])


def test_damaged_parquet_and_missing_pyarrow_are_one_line(parquet, monkeypatch):
    root, _ = parquet
    path = root / "data" / "train-00001-of-00002.parquet"
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ScenarioError, match=r"train-00001-of-00002\.parquet: not read as parquet"):
        Femnist(str(root)).load()
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ScenarioError, match=r"needs pyarrow, which is not installed: .*uv run --extra hf"):
        Femnist(str(root)).load()


def test_parquet_of_other_columns_is_refused(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.table({"writer_id": ["a"], "image": [{"bytes": b"no png"}]}), tmp_path / "a.parquet")
    with pytest.raises(ScenarioError, match="no column character"):
        Femnist(str(tmp_path)).load()
    pq.write_table(
        pa.table({"writer_id": ["a"], "image": [{"bytes": b"no png"}], "character": [np.int64(1)]}),
        tmp_path / "a.parquet",
    )
    with pytest.raises(ScenarioError, match=r"a\.parquet: a picture is not read as PNG"):
        Femnist(str(tmp_path)).load()
