"""From a model plugin to the model that is trained."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from priprune_plugins.errors import PluginError, PluginRuleError, PriPruneError
from priprune_plugins.generators import seeded_globals
from priprune_plugins.models.convnet import ImageShape
from priprune_plugins.models.initialise import Init, initialise
from priprune_plugins.models.standardise import Standardise
from priprune_plugins.wording import cause


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
        PluginRuleError: The plugin fails, or gives no network with parameters.
    """
    if not len(mean) == len(std) == image_shape[0]:
        raise PluginError(f"data set: {image_shape[0]} channels but {len(mean)} means and {len(std)} stds")
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        net = _built(plugin, image_shape, num_classes)
    if init is None and isinstance(plugin, InitialisesItself):
        plugin.initialise(net, generator)
    else:
        chosen: Init = getattr(plugin, "default_init", "he") if init is None else init
        initialise(net, chosen, generator)
    return Standardise(mean, std, net)


def check_forward(model: nn.Module, image_shape: ImageShape, num_classes: int, smallest: int, why: str) -> None:
    """Try a model on black images: on two in eval mode, and in train mode on the smallest batch of the run.

    Neither its modes and statistics nor a global generator shows it.

    Args:
        model: The model.
        image_shape: ``(C, H, W)``.
        num_classes: Number of labels ``K``.
        smallest: Images of the smallest batch that it is trained on; batch norm cannot be trained on any.
        why: Where that batch comes from, and what to do about it, for the message.

    Raises:
        PluginRuleError: It fails on images of that shape or on that batch, or gives something else than logits ``[B,
            num_classes]``.
    """
    expected, given = [2, num_classes], _tried(model, False, image_shape, 2, f"on images {list(image_shape)}")
    if given != expected:
        raise PluginRuleError(f"its forward must give logits {expected} for two images, got {given}")
    on = f"in train mode on a batch of {smallest}"
    expected, given = [smallest, num_classes], _tried(model, True, image_shape, smallest, on, f"; {why}")
    if given != expected:
        raise PluginRuleError(f"its forward must give logits {expected} {on}, got {given}")


def _tried(
    model: nn.Module, training: bool, image_shape: ImageShape, count: int, on: str, more: str = ""
) -> list[int] | str:
    """Return the shape of what a forward gives, or its type where it is no tensor."""
    first = next(model.parameters())
    images = torch.zeros(count, *image_shape, device=first.device, dtype=first.dtype)
    modes = [(module, module.training) for module in model.modules()]
    statistics = [buffer.clone() for buffer in model.buffers()]
    try:
        with torch.no_grad(), seeded_globals(0, "model check"):
            given: object = model.train(training)(images)
            for buffer, before in zip(model.buffers(), statistics, strict=True):
                buffer.copy_(before)
    except Exception as error:
        raise PluginRuleError(f"its forward fails {on}: {cause(error)}{more}") from error
    finally:
        for module, mode in modes:
            module.training = mode
    return list(given.shape) if isinstance(given, Tensor) else type(given).__name__


def _built(plugin: ModelPlugin, image_shape: ImageShape, num_classes: int) -> nn.Module:
    try:
        net: object = plugin.build(image_shape, num_classes)
    except PriPruneError:
        raise
    except Exception as error:
        raise PluginRuleError(f"its build fails: {cause(error)}") from error
    if not isinstance(net, nn.Module):
        raise PluginRuleError(f"its build must return an nn.Module, got {type(net).__name__}")
    if next(net.parameters(), None) is None:
        raise PluginRuleError(
            f"its build must return an nn.Module with parameters, got {type(net).__name__} without any"
        )
    return net
