import sys
from pathlib import Path

import pytest

from priprune_plugins.cli.fetch import fetch_dataset
from priprune_plugins.errors import RunError, ScenarioError

OWN = """
from dataclasses import dataclass

@dataclass(frozen=True, eq=False)
class Mine:
    root: str = "unused"

    @staticmethod
    def fetch(root):
        (root / "images").write_text("here")

@dataclass(frozen=True, eq=False)
class Failing(Mine):
    @staticmethod
    def fetch(root):
        raise ConnectionError("no route")

@dataclass(frozen=True, eq=False)
class Bare:
    pass
"""


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "fetch_lab", raising=False)
    (tmp_path / "fetch_lab.py").write_text(OWN, encoding="utf-8")
    return tmp_path


def test_a_data_set_that_fetches_itself_is_asked_to(lab: Path) -> None:
    line = fetch_dataset("fetch_lab:Mine", lab / "got")
    assert (lab / "got" / "images").read_text() == "here"
    assert line.endswith(f"root: {lab / 'got'}}}")


def test_a_failed_download_is_one_line(lab: Path) -> None:
    with pytest.raises(RunError, match="could not be downloaded: ConnectionError: no route"):
        fetch_dataset("fetch_lab:Failing", lab / "got")


def test_what_cannot_be_fetched_says_so(lab: Path) -> None:
    assert fetch_dataset("digits", None) == "digits comes with scikit-learn: nothing to fetch"
    with pytest.raises(ScenarioError, match="has no fetch: get it from where its publisher says"):
        fetch_dataset("fetch_lab:Bare", None)
    with pytest.raises(ScenarioError, match="unknown data set 'mnits'; did you mean 'mnist'"):
        fetch_dataset("mnits", None)
