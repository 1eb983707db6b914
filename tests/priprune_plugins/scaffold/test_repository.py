import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scaffold import write_plugin


@pytest.mark.parametrize("kind", ["pruner", "attack", "defense"])
def test_a_written_repository_is_complete_and_declares_its_entry_point(kind: str, tmp_path: Path) -> None:
    folder = write_plugin(kind, "two_words", tmp_path / "out")
    project = tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    target = f"priprune_{kind}_two_words.two_words:TwoWords"
    assert project["entry-points"] == {f"priprune.{kind}s": {"two_words": target}}
    assert project["name"] == f"priprune-{kind}-two-words"
    assert "class TwoWords:" in (folder / f"priprune_{kind}_two_words/two_words.py").read_text(encoding="utf-8")
    text = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*") if path.is_file())
    assert "$" not in text


def test_without_a_folder_it_is_named_after_kind_and_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_plugin("pruner", "fisher") == Path("priprune-pruner-fisher")
    assert (tmp_path / "priprune-pruner-fisher/tests/test_fisher.py").is_file()


@pytest.mark.parametrize("name", ["", "Fisher", "2nd", "my-pruner", "../x", "a b", "class", "é", "x" * 41])
def test_a_name_that_is_no_module_name_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="name must be a-z, 0-9 and _"):
        write_plugin("pruner", name, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_name_that_is_installed_or_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="pruner 'random' exists already, in priprune-plugins"):
        write_plugin("pruner", "random", tmp_path / "out")
    with pytest.raises(ScenarioError, match="exists already: give another --out"):
        write_plugin("pruner", "fisher", tmp_path)


@pytest.mark.end_to_end
@pytest.mark.parametrize("kind", ["pruner", "attack", "defense"])
def test_the_tests_of_a_written_repository_pass(kind: str, tmp_path: Path) -> None:
    folder = write_plugin(kind, "mine", tmp_path / "repository")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout + done.stderr
