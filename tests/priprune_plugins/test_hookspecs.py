"""The drawn round is the contract: it names every hook with its arguments."""

import pytest

from priprune_plugins import hookspecs
from priprune_plugins.hookspecs import HookSpecs

HOOKS = [name for name in vars(HookSpecs) if not name.startswith("_")]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_stands_in_the_drawn_round_with_its_arguments(hook: str) -> None:
    code = getattr(HookSpecs, hook).__code__
    arguments = ", ".join(name for name in code.co_varnames[1 : code.co_argcount] if name != "progress")
    assert f"{hook}({arguments})" in (hookspecs.__doc__ or "")
