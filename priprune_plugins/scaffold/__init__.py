"""Plugin repositories that pass their own tests, as a stranger's first step."""

from priprune_plugins.scaffold.repository import write_plugin

__all__ = ["write_plugin"]
