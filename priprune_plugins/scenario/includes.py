"""``include:`` of other files: mappings merge key by key, everything else of the included file is replaced."""

from collections.abc import Mapping
from pathlib import Path

from priprune_plugins.errors import ScenarioError
from priprune_plugins.scenario.nodes import Node
from priprune_plugins.scenario.yaml_reader import read_yaml
from priprune_plugins.wording import shown

INCLUDE = "include"
_MAX_CHAIN = 20


def read_with_includes(path: Path, shared_keys: Mapping[str, frozenset[str]]) -> tuple[Node, list[Path]]:
    """Return a file's mapping with everything that it includes, and all files read, the file itself first.

    Args:
        path: The scenario. An included file's path is relative to the file that includes it.
        shared_keys: Per top-level key, the keys that do not belong to the plugin that its ``name`` chooses.

    Raises:
        ScenarioError: A file cannot be read, or includes itself.
    """
    return with_includes(read_yaml(path), path, shared_keys)


def with_includes(
    node: Node, path: Path, shared_keys: Mapping[str, frozenset[str]], chain: tuple[Path, ...] = ()
) -> tuple[Node, list[Path]]:
    """Return a mapping that stands in ``path`` with everything that it includes, and all files read.

    Args:
        node: The mapping, for instance a whole file's, or the inline base of a sweep.
        path: The file that it stands in.
        shared_keys: As for :func:`read_with_includes`.
        chain: The files that led here by their includes.

    Raises:
        ScenarioError: A file cannot be read, or includes itself.
    """
    entries = dict(node.value) if isinstance(node.value, dict) else {}
    include = entries.pop(INCLUDE, None)
    own = Node(entries, node.place)
    chain = (*chain, path.resolve())
    merged, files = Node({}, node.place), [path]
    for target in [] if include is None else _targets(include):
        base_path = _checked(path.parent / str(target.value), target, chain)
        base, more = with_includes(read_yaml(base_path), base_path, shared_keys, chain)
        merged = _merged(merged, base, "", shared_keys)
        files += more
    return _merged(merged, own, "", shared_keys), files


def merged(base: Node, over: Node, shared_keys: Mapping[str, frozenset[str]]) -> Node:
    """Return what a file that says ``over`` and includes one that says ``base`` comes to.

    Args:
        base: A mapping.
        over: A mapping; where both have a key and not both a mapping there, this one wins.
        shared_keys: As for :func:`read_with_includes`.
    """
    return _merged(base, over, "", shared_keys)


def _targets(include: Node) -> list[Node]:
    targets = include.value if isinstance(include.value, list) else [include]
    for target in targets:
        if not isinstance(target.value, str):
            got = shown(target.plain())
            raise ScenarioError(f"{target.place}: include must be a file name, or a list of them, got {got}")
    return targets


def _checked(path: Path, target: Node, chain: tuple[Path, ...]) -> Path:
    if path.resolve() in chain:
        raise ScenarioError(f"{target.place}: include {shown(target.value)} leads back to itself; remove it")
    if len(chain) > _MAX_CHAIN:
        raise ScenarioError(f"{target.place}: more than {_MAX_CHAIN} files include each other; join some")
    if not path.is_file():
        raise ScenarioError(f"{target.place}: include: there is no file {shown(str(path))}; paths start at this file")
    return path


def _merged(base: Node, over: Node, path: str, shared_keys: Mapping[str, frozenset[str]]) -> Node:
    """Return ``over`` on top of ``base``.

    A section that names another plugin drops the options of the first, which the second would not know.
    """
    if not (isinstance(base.value, dict) and isinstance(over.value, dict)):
        return over
    kept = base.value
    if path and _names_another(base.value, over.value):
        kept = {key: node for key, node in kept.items() if key in shared_keys.get(path, ())}
    merged = dict(kept)
    for key, node in over.value.items():
        inner = f"{path}.{key}" if path else key
        merged[key] = _merged(kept[key], node, inner, shared_keys) if key in kept else node
    return Node(merged, over.place)


def _names_another(base: Mapping[str, Node], over: Mapping[str, Node]) -> bool:
    return "name" in base and "name" in over and base["name"].value != over["name"].value
