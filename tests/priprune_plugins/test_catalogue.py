import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from priprune_plugins import catalogue
from priprune_plugins.catalogue import check_name, installed, is_reference, load_class
from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.selection import Selection

Distribution = Callable[..., None]


def chosen(name: str, *folders: Path, kind: str = "pruners") -> Selection:
    return Selection(kind, name, {}, "pruner", {"pruner.name": "a.yaml:7"}, folders)


@pytest.fixture
def distribution(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Distribution]:
    """Install a distribution with one module by its metadata, as an installer would leave it."""
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    modules = set(sys.modules)

    def install(name: str, module: str, source: str, entry: str, group: str = "priprune.pruners") -> None:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        info = tmp_path / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{entry} = {module}:Mine\n", encoding="utf-8")

    yield install
    for name in set(sys.modules) - modules:
        del sys.modules[name]


def test_built_in_plugins_come_by_their_entry_points() -> None:
    names = {entry.name: entry for entry in installed("defenses")}
    assert names["largest"].value == "priprune_defenses.largest:Largest"
    assert names["largest"].distribution == "priprune-plugins"


def test_a_strangers_plugin_is_found_and_loaded(distribution: Distribution) -> None:
    distribution("lab", "lab_one", "class Mine: pass\n", "lab_pruner")
    entry = check_name(chosen("lab_pruner"))
    assert entry is not None and (entry.distribution, entry.version) == ("lab", "1.2")
    assert load_class(chosen("lab_pruner")).__name__ == "Mine"


def test_an_unknown_name_says_what_is_installed() -> None:
    with pytest.raises(ScenarioError) as caught:
        load_class(chosen("largset", kind="defenses"))
    message = str(caught.value)
    assert message.startswith("a.yaml:7: pruner.name: unknown defense 'largset'; did you mean 'largest'? installed: ")
    assert message.endswith("After adding an entry point, install again.")


def test_one_name_from_two_distributions_is_an_error_only_when_selected(distribution: Distribution) -> None:
    distribution("lab_a", "lab_two", "class Mine: pass\n", "twin")
    distribution("lab_b", "lab_three", "class Mine: pass\n", "twin")
    assert check_name(chosen("random")) is not None
    with pytest.raises(ScenarioError, match=r"pruner 'twin' is brought by lab_a 1\.2 and lab_b 1\.2; uninstall one"):
        load_class(chosen("twin"))


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import no_such_module\n", "cannot be imported: ModuleNotFoundError: No module named 'no_such_module'"),
        ("1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero"),
        ("def f(:\n", "cannot be imported: SyntaxError"),
        ("Mine = 3\n", "is a int, not a class"),
        ("", "holds no such class"),
    ],
)
def test_a_broken_plugin_is_named_with_its_distribution_and_cause(
    source: str, cause: str, distribution: Distribution
) -> None:
    module = f"broken_{abs(hash(source))}"
    distribution("lab", module, source, "broken")
    assert "broken" in {entry.name for entry in installed("pruners")}
    with pytest.raises(ScenarioError) as caught:
        load_class(chosen("broken"))
    message = str(caught.value)
    assert f"pruner 'broken' of lab 1.2 ({module}:Mine)" in message and cause in message
    assert "\n" not in message


def test_a_module_beside_the_scenario_needs_no_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_scenario.py").write_text("class Mine: pass\n", encoding="utf-8")
    assert load_class(chosen("beside_scenario:Mine", tmp_path)).__module__ == "beside_scenario"


def test_a_module_in_the_current_folder_needs_no_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in_cwd").mkdir()
    (tmp_path / "in_cwd" / "part.py").write_text("class Mine: pass\n", encoding="utf-8")
    assert load_class(chosen("in_cwd.part:Mine")).__module__ == "in_cwd.part"


def test_a_module_that_hides_behind_another_of_its_name_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "random.py").write_text("class Mine: pass\n", encoding="utf-8")
    with pytest.raises(ScenarioError, match=r"is another module, .*random\.py, and not the one in .*; rename yours"):
        load_class(chosen("random:Mine", tmp_path))


def test_a_reference_is_recognised_by_its_colon() -> None:
    assert is_reference("my_lab.pruner:Mine") and not is_reference("snip")
    with pytest.raises(ScenarioError, match=r"must be a name or module:Class, got 'a/b\.py:Mine'"):
        check_name(chosen("a/b.py:Mine"))


def test_metadata_is_read_once_and_anew_for_another_path(
    distribution: Distribution, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = installed("pruners")
    with monkeypatch.context() as closed:
        closed.setattr(catalogue, "entry_points", lambda **_: pytest.fail("read again"))
        assert installed("pruners") == first
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(other)])
    distribution("lab_late", "lab_late", "class Mine: pass\n", "late")
    assert {entry.name for entry in installed("pruners")} - {entry.name for entry in first} == {"late"}
