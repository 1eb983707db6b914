"""How much can a curious server reconstruct from pruned federated learning?

The public names of the host; importing this package alone does not import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from priprune_plugins.errors import PluginError, PriPruneError, RunError, ScenarioError
from priprune_plugins.hookspecs import hookimpl
from priprune_plugins.options import Count, Factor, Index, NonNegative, Positive, Rate, Share

if TYPE_CHECKING:
    from priprune_plugins.layout import Layout
    from priprune_plugins.messages import (
        Client,
        Evaluation,
        Facts,
        LabelledSet,
        Observation,
        Progress,
        Reconstruction,
        Run,
        Server,
        Upload,
    )

__version__ = "0.1.0"
_NEEDS_TORCH = {
    "Layout": "priprune_plugins.layout",
    **dict.fromkeys(
        (
            "Client",
            "Evaluation",
            "Facts",
            "LabelledSet",
            "Observation",
            "Progress",
            "Reconstruction",
            "Run",
            "Server",
            "Upload",
        ),
        "priprune_plugins.messages",
    ),
}
__all__ = [
    "Client",
    "Count",
    "Evaluation",
    "Factor",
    "Facts",
    "Index",
    "LabelledSet",
    "Layout",
    "NonNegative",
    "Observation",
    "PluginError",
    "Positive",
    "PriPruneError",
    "Progress",
    "Rate",
    "Reconstruction",
    "Run",
    "RunError",
    "ScenarioError",
    "Server",
    "Share",
    "Upload",
    "hookimpl",
]


def __getattr__(name: str) -> object:
    if name in _NEEDS_TORCH:
        return getattr(import_module(_NEEDS_TORCH[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
