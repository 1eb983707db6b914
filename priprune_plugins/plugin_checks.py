"""Rules that a plugin must keep, checked once before a run; pluggy itself passes over each of them in silence."""

import inspect
from collections.abc import Iterable, Iterator

from priprune_plugins.errors import PluginRuleError
from priprune_plugins.hookspecs import PROJECT, HookSpecs

RESULTS = frozenset({"reconstruct", "identify"})
SUMS = "sum_uploads"
ATTACK_HOOKS = RESULTS | {"on_server_receive"}
HOOKS = tuple(name for name in vars(HookSpecs) if not name.startswith("_"))


def check_plugin(label: str, kind: str, plugin: object) -> None:
    """Check one plugin.

    Args:
        label: How errors name it, for instance ``pruner snip``.
        kind: ``attacks`` may implement only what a server can do; ``reconstruct`` and ``identify`` are theirs alone.
        plugin: The instance.

    Raises:
        PluginRuleError: A class instead of an instance, no hook, an unknown or unmarked hook, an argument that the hook
            does not pass or that has a default, an order of its own, or a hook that the kind may not implement.
    """
    if inspect.isclass(plugin):
        raise PluginRuleError(f"{label} is the class {plugin.__name__}, not an instance: register {plugin.__name__}()")
    hooks = dict(_hooks(plugin))
    for name in HOOKS:
        if name not in hooks and callable(getattr(plugin, name, None)):
            raise PluginRuleError(
                f"{label} defines {name} without @hookimpl, so it would never be called: add @hookimpl"
            )
    if not hooks:
        raise PluginRuleError(f"{label} implements no hook: mark its methods with @hookimpl; hooks: {', '.join(HOOKS)}")
    for name, options in hooks.items():
        _check_hook(label, name, options, getattr(plugin, name))
    _check_kind(label, kind, set(hooks))


def check_twins(plugins: Iterable[tuple[str, object]]) -> None:
    """Refuse two plugins that compare equal: pluggy would take the second for the first.

    Raises:
        PluginRuleError: Two plugins are equal.
    """
    seen: list[tuple[str, object]] = []
    for label, plugin in plugins:
        for other_label, other in seen:
            if plugin is other or plugin == other:
                raise PluginRuleError(
                    f"{label} equals {other_label}: declare it with @dataclass(frozen=True, eq=False)"
                )
        seen.append((label, plugin))


def _hooks(plugin: object) -> Iterator[tuple[str, dict[str, object]]]:
    for name in dir(type(plugin)):
        options = getattr(getattr(plugin, name, None), f"{PROJECT}_impl", None)
        if isinstance(options, dict):
            yield name, options


def _check_hook(label: str, name: str, options: dict[str, object], method: object) -> None:
    if name not in HOOKS:
        raise PluginRuleError(f"{label} implements {name}, which is no hook; hooks: {', '.join(HOOKS)}")
    ordering = [flag for flag in ("tryfirst", "trylast", "hookwrapper", "wrapper") if options.get(flag)]
    if ordering:
        raise PluginRuleError(f"{label} asks for {ordering[0]} on {name}: the order of plugins is the scenario's")
    allowed = [parameter for parameter in inspect.signature(getattr(HookSpecs, name)).parameters if parameter != "self"]
    for parameter in inspect.signature(method).parameters.values():  # type: ignore[arg-type]
        if parameter.name not in allowed:
            raise PluginRuleError(f"{label}: {name} takes {', '.join(allowed)}; it cannot take {parameter.name}")
        if parameter.default is not inspect.Parameter.empty:
            raise PluginRuleError(f"{label}: {name} gives {parameter.name} a default, so it would never be passed")


def _check_kind(label: str, kind: str, hooks: set[str]) -> None:
    if kind == "attacks":
        forbidden = sorted(hooks - ATTACK_HOOKS)
        if forbidden:
            raise PluginRuleError(f"{label} implements {forbidden[0]}: an attack sees only what a server sees")
        if not hooks & RESULTS:
            raise PluginRuleError(f"{label} implements neither reconstruct nor identify: an attack must give a result")
    elif hooks & RESULTS:
        raise PluginRuleError(f"{label} implements {min(hooks & RESULTS)}, which only attacks may")
    elif SUMS in hooks and kind != "defenses":
        raise PluginRuleError(f"{label} implements {SUMS}, which only defences may")
