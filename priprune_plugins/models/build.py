"""From a model plugin to the model that is trained."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import nn

from priprune_plugins.errors import PluginError
from priprune_plugins.models.convnet import ImageShape
from priprune_plugins.models.initialise import Init, initialise
from priprune_plugins.models.standardise import Standardise


class ModelPlugin(Protocol):
    """A frozen dataclass of options; ``default_init: ClassVar`` names its initialisation where that is not ``he``."""

    def build(self, image_shape: ImageShape, num_classes: int) -> nn.Module:
        """Return a network from standardised images ``[B, *image_shape]`` to logits ``[B, num_classes]``."""
        ...


@runtime_checkable
class InitialisesItself(Protocol):
    """A model plugin that draws its own weights unless the scenario names an initialisation."""

    def initialise(self, model: nn.Module, generator: torch.Generator) -> None:
        """Draw all weights of ``model``, in place."""
        ...


def build_model(
    plugin: ModelPlugin,
    image_shape: ImageShape,
    num_classes: int,
    mean: Sequence[float],
    std: Sequence[float],
    init: Init | None,
    generator: torch.Generator,
) -> nn.Module:
    """Return the plugin's network behind :class:`Standardise`, with fresh weights, on CPU and in train mode.

    The global generators are left as found, and equal generators give equal weights, also of layers that
    :func:`~priprune_plugins.models.initialise.initialise` does not know: constructors draw from a seeded scope.

    Args:
        plugin: The model plugin.
        image_shape: ``(C, H, W)``.
        num_classes: Number of labels ``K``.
        mean: Public constant per channel that images are reduced by.
        std: Public constant per channel that images are divided by.
        init: The scenario's initialisation, or None for the plugin's own.
        generator: CPU generator of the weights.

    Raises:
        PluginError: The data set's constants do not fit its channels.
    """
    if not len(mean) == len(std) == image_shape[0]:
        raise PluginError(f"data set: {image_shape[0]} channels but {len(mean)} means and {len(std)} stds")
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = plugin.build(image_shape, num_classes)
    if init is None and isinstance(plugin, InitialisesItself):
        plugin.initialise(net, generator)
    else:
        chosen: Init = getattr(plugin, "default_init", "he") if init is None else init
        initialise(net, chosen, generator)
    return Standardise(mean, std, net)
