"""What a server holds of the features behind an upload: a layer's inputs by closed form, or a representation sent."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from priprune_attacks.heads import Head
from priprune_attacks.labels import counted
from priprune_attacks.last_layer import LastLayer
from priprune_attacks.layer_inputs import LinearLayer, linear_layer
from priprune_attacks.recovery import Bounds, recover_inputs
from priprune_attacks.representations import Side, named_module, pixelwise, representation
from priprune_attacks.targets import Target, absent, pseudo_gradient
from priprune_plugins import Observation, ScenarioError


@dataclass(frozen=True, eq=False)
class Features:
    """Representations of some of the images behind one observation.

    Args:
        layer: Name of the module, or empty where nothing is held.
        side: Whether they are its input or its output.
        values: ``[F, ...]``, one row per image found, F at most the number of images.
        known: Bool, of the shape of one row: features that are known; None = all.
        labels: ``[F]`` int64, or None.
        error: Expected squared error of the values, relative to their squared norm.
        images: ``[F, C, H, W]`` where the features are the pixels but for a scale, else None.
        notes: Figures for the record.
        failed: Why nothing is held, or None.
    """

    layer: str
    side: Side
    values: Tensor
    known: Tensor | None = None
    labels: Tensor | None = None
    error: float = 0.0
    images: Tensor | None = None
    notes: Mapping[str, float] = field(default_factory=dict)
    failed: str | None = None


def features_sent(observation: Observation, model: nn.Module, name: str, layer: str | None) -> Features:
    """Return the representation that the client sent as the extra ``name``: the output of ``layer``.

    Raises:
        ScenarioError: No layer is named, or the model has no such module.
    """
    if layer is None:
        options = ", ".join(key for key, module in model.named_modules() if not any(module.children()))
        raise ScenarioError(
            f"attack feature_inversion: the clients send {name!r}; name the layer whose output it is, one of: {options}"
        )
    named_module(model, layer)
    sent = observation.extras[name].to(observation.broadcast)
    if len(sent) > observation.num_images or not bool(torch.isfinite(sent).all()):
        return _nothing(observation, f"the extra {name!r} {list(sent.shape)} holds no finite row per image")
    return Features(layer, "output", sent)


def features_from_gradient(
    observation: Observation, model: nn.Module, layer: str | None, generator: torch.Generator
) -> Features:
    """Return the inputs of a Linear layer, by closed form from what was received of its gradient.

    Several local steps count as one: their gradients are taken at different weights, so what is found is then an
    approximation.

    Args:
        observation: What the server holds.
        model: The attacker's copy at the broadcast.
        layer: Name of the layer, or None for the first Linear one.
        generator: CPU generator.
    """
    linear = linear_layer(model, observation.facts.layout, layer)
    if linear is None:
        return _nothing(observation, "the model has no Linear layer, whose input a gradient would give")
    target = pseudo_gradient(observation, unroll=False)
    if target.flaw is not None:
        return _nothing(observation, target.flaw)
    image = observation.facts.mean_image.to(observation.broadcast)
    with torch.no_grad():
        typical = representation(model, linear.name, image.unsqueeze(0), "input")
    if typical.dim() != 2:
        shape = list(typical.shape[1:])
        return _nothing(observation, f"layer {linear.name} takes {shape} per image and not a vector: no sum of outers")
    return _recovered(observation, model, linear, target, typical[0], generator)


def _recovered(
    observation: Observation,
    model: nn.Module,
    linear: LinearLayer,
    target: Target,
    typical: Tensor,
    generator: torch.Generator,
) -> Features:
    facts, received = observation.facts, linear.gradient(target)
    image = facts.mean_image.to(observation.broadcast)
    lens = pixelwise(model, linear.name, facts.image_shape)
    bounds = Bounds(torch.zeros_like(typical).double()) if lens is None else _pixel_bounds(*lens)
    head, norm = Head(model, linear, image), float(typical.norm())
    found = recover_inputs(received, head, observation.num_images, bounds, norm, generator)
    notes = _withheld(observation, linear)
    if found is None:
        reason = f"nothing but zeros was received of the gradient of {linear.name}"
        return _nothing(observation, reason, notes)
    notes |= {"layer_nonzero_share": found.nonzero_share, "images_found": float(len(found.inputs))}
    notes |= {"features_known": float(found.known.double().mean())}
    if not len(found.inputs):
        return _nothing(observation, f"no image's input to {linear.name} could be told apart from the others'", notes)
    images = None
    if lens is not None:
        images = ((found.inputs - lens[0]) / lens[1]).clamp(0.0, 1.0).view(-1, *facts.image_shape)
    labels = _all_labels(observation, model, target, found.labels, generator)
    return Features(linear.name, "input", found.inputs, found.known, labels, found.error, images, notes)


def _pixel_bounds(shift: Tensor, slope: Tensor) -> Bounds:
    ends = torch.stack([shift, shift + slope]).double()
    return Bounds(ends.amin(0), ends.amax(0))


def _all_labels(
    observation: Observation, model: nn.Module, target: Target, found: Tensor, generator: torch.Generator
) -> Tensor | None:
    """Return ``[B]`` labels: those of the images found, then what the last layer counts beyond them."""
    if len(found) == observation.num_images:
        return found
    last = LastLayer.of(model, observation.facts, generator, observation.public)
    labels = counted(last, target, observation)[0]
    if labels is None:
        return None
    counts = torch.bincount(labels, minlength=observation.facts.num_classes)
    left = (counts - torch.bincount(found, minlength=len(counts))).clamp_min(0)
    rest = torch.arange(len(counts), device=found.device).repeat_interleave(left)
    return torch.cat([found, rest])[: observation.num_images] if len(found) + len(rest) >= len(labels) else None


def _withheld(observation: Observation, linear: LinearLayer) -> dict[str, float]:
    """Return which share of the layer's unpruned parameters was withheld."""
    parts = [linear.weight] if linear.bias is None else [linear.weight, linear.bias]
    withheld = torch.cat([absent(observation)[part] for part in parts])
    kept = torch.ones_like(withheld)
    if observation.mask is not None:
        kept = torch.cat([observation.mask[part] for part in parts])
    return {"layer_withheld_share": float((withheld & kept).sum() / kept.sum().clamp_min(1))}


def _nothing(observation: Observation, reason: str, notes: Mapping[str, float] | None = None) -> Features:
    return Features("", "input", observation.broadcast.new_zeros(0), notes=notes or {}, failed=reason)
