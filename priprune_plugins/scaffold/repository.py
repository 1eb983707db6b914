"""Write a plugin repository from the templates beside this file."""

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

from priprune_plugins import __version__
from priprune_plugins.catalogue import installed
from priprune_plugins.errors import ScenarioError
from priprune_plugins.wording import shown

KINDS = {"pruner": "pruners", "attack": "attacks", "defense": "defenses"}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def write_plugin(kind: str, name: str, out: Path | None = None) -> Path:
    """Write a repository with one plugin and return its folder.

    Args:
        kind: ``pruner``, ``attack`` or ``defense``.
        name: The plugin's name in a scenario.
        out: The folder to make; None = ``priprune-<kind>-<name>`` in the current one.

    Raises:
        ScenarioError: The name cannot be used or is taken, or the folder exists or cannot be made.
    """
    _check_name(kind, name)
    dashed = name.replace("_", "-").strip("-")
    words = {
        "kind": kind,
        "group": KINDS[kind],
        "name": name,
        "class_name": "".join(part.capitalize() for part in name.split("_")),
        "package": f"priprune_{kind}_{name}",
        "distribution": f"priprune-{kind}-{dashed}",
        "host_version": __version__,
    }
    folder = out or Path(words["distribution"])
    try:
        folder.mkdir(parents=True)
        for path, text in _rendered(kind, words):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text, encoding="utf-8")
    except FileExistsError:
        raise ScenarioError(f"{folder} exists already: give another --out, or remove it") from None
    except OSError as error:
        raise ScenarioError(f"cannot write {folder}: {error.strerror}; give another --out") from error
    return folder


def _check_name(kind: str, name: str) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise ScenarioError(f"name must be a-z, 0-9 and _, a letter first, no Python keyword, got {shown(name)}")
    taken = [entry for entry in installed(KINDS[kind]) if entry.name == name]
    if taken:
        raise ScenarioError(f"{kind} {name!r} exists already, in {taken[0].distribution}; choose another name")


def _rendered(kind: str, words: dict[str, str]) -> list[tuple[str, str]]:
    templates = files("priprune_plugins.scaffold") / "templates"
    paths = {
        "pyproject.toml": templates / "pyproject.toml.tmpl",
        "README.md": templates / "README.md.tmpl",
        ".gitignore": templates / "gitignore.tmpl",
        "scenario.yaml": templates / kind / "scenario.yaml.tmpl",
        f"{words['package']}/__init__.py": templates / "package.py.tmpl",
        f"{words['package']}/{words['name']}.py": templates / kind / "plugin.py.tmpl",
        f"{words['package']}/py.typed": None,
        f"tests/test_{words['name']}.py": templates / kind / "test.py.tmpl",
    }
    return [(path, _text(template, words)) for path, template in paths.items()]


def _text(template: Traversable | None, words: dict[str, str]) -> str:
    return "" if template is None else Template(template.read_text(encoding="utf-8")).substitute(words)
