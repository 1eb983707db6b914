"""Who may import whom, read off the source."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HOST = ROOT / "priprune_plugins"
PLUGINS = {
    "priprune_pruners": ROOT / "pruners/priprune_pruners",
    "priprune_attacks": ROOT / "attacks/priprune_attacks",
    "priprune_defenses": ROOT / "defenses/priprune_defenses",
}
CONTRACT = {"messages", "facts", "layout", "live_weights", "participants", "masks", "generators"}
LAYERS = [
    "contract",
    "hookspecs",
    "plugins",
    "checkpoint",
    "simulation",
    "run",
    "cluster",
    "network",
    "bridges",
    "sweep",
    "cli",
]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def layer(module: str) -> str | None:
    name = module.removeprefix("priprune_plugins.").partition(".")[0]
    return "contract" if name in CONTRACT else name if name in LAYERS else None


def sources(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


@pytest.mark.parametrize("path", sources(HOST), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_host_file_imports_only_from_lower_layers_and_no_plugin(path: Path) -> None:
    own = layer(".".join(path.relative_to(ROOT).with_suffix("").parts))
    for module in imports(path):
        assert module.partition(".")[0] not in PLUGINS, f"{path} imports the plugin package {module}"
        other = layer(module) if module.startswith("priprune_plugins.") else None
        if own is not None and other is not None:
            assert LAYERS.index(other) <= LAYERS.index(own), f"{path} ({own}) imports {module} ({other})"


@pytest.mark.parametrize("name", sorted(PLUGINS))
def test_plugin_packages_never_import_each_other_or_fedlab(name: str) -> None:
    for path in sources(PLUGINS[name]):
        tops = {module.partition(".")[0] for module in imports(path)}
        assert not tops & (set(PLUGINS) - {name} | {"fedlab"}), f"{path} imports {tops}"


def test_fedlab_is_imported_under_simulation_and_by_the_partitions_only() -> None:
    allowed = {HOST / "data/partitions.py", *sources(HOST / "simulation")}
    users = {path for path in sources(HOST) if any(module.split(".")[0] == "fedlab" for module in imports(path))}
    assert users <= allowed


def test_no_file_is_a_drawer_without_a_subject() -> None:
    drawers = {"utils.py", "helpers.py", "common.py", "misc.py", "base.py"}
    assert not [path for folder in (HOST, *PLUGINS.values()) for path in sources(folder) if path.name in drawers]


BANNED = {("weights_only", False), ("allow_pickle", True)}


@pytest.mark.parametrize("folder", [HOST, *PLUGINS.values(), ROOT / "benchmarks"], ids=lambda path: path.name)
def test_nothing_loads_pickles_or_unsafe_yaml(folder: Path) -> None:
    for path in sources(folder):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                given = {(k.arg, k.value.value) for k in node.keywords if isinstance(k.value, ast.Constant)}
                assert not given & BANNED, f"{path}:{node.lineno}"
                called = ast.unparse(node.func)
                assert called not in {"yaml.load", "yaml.unsafe_load", "pickle.load", "pickle.loads"}, (
                    f"{path}:{node.lineno}"
                )
