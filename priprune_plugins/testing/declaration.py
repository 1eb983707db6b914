"""A plugin as it is declared: a dataclass of options that a scenario can give, with hooks that its kind may have."""

from dataclasses import fields, is_dataclass
from typing import Any

from pydantic_core import to_jsonable_python

from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.options import build_plugin, option_fields
from priprune_plugins.scenario.selection import Selection
from priprune_plugins.testing.failures import broken_contract, require


def check_declaration(kind: str, plugin: Any) -> None:
    """Check a plugin's options and hooks, without calling any.

    Args:
        kind: ``pruners``, ``attacks`` or ``defenses``.
        plugin: An instance.

    Raises:
        AssertionError: No frozen ``eq=False`` dataclass, a hook that its kind may not have, an option without a type
            that YAML can give, or options that their own types refuse.
    """
    cls = type(plugin)
    require(not isinstance(plugin, type), f"give an instance, {plugin}(), and not the class")
    require(is_dataclass(cls), f"{cls.__name__} must be a dataclass: write @dataclass(frozen=True, eq=False)")
    made: Any = cls.__dataclass_params__
    require(made.frozen, f"{cls.__name__} must be frozen: what it remembers belongs into client.state or server.state")
    require(not made.eq, f"{cls.__name__} must have eq=False: two equal plugins would be taken for one")
    with broken_contract():
        PluginHost([Registered(kind, cls.__name__, f"{kind}:{cls.__name__}", plugin)])
        _check_options(kind, plugin)


def _check_options(kind: str, plugin: Any) -> None:
    cls = type(plugin)
    options = {name: to_jsonable_python(getattr(plugin, name)) for name in option_fields(cls)}
    again = build_plugin(Selection(kind, cls.__name__, options, kind.removesuffix("s")), cls)
    for field in fields(cls):
        given, read = getattr(plugin, field.name), getattr(again, field.name)
        require(given == read, f"{cls.__name__}.{field.name}: {given!r} written to YAML comes back as {read!r}")
