"""FedAvg whose clients also send what layers make of their images: the threat model of the second paper.

"Privacy-preserving Learning via Deep Net Pruning" (2020, arXiv:2003.01876), section 5.2, gives the attacker a layer's
representation of an image and asks for the image. Here a client sends it beside its weights, in training as in the
attacked probes and in their positive controls, and ``feature_inversion`` inverts it.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from priprune_plugins import Client, ScenarioError
from priprune_plugins.simulation.algorithm import LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg


def outputs(model: nn.Module, layers: tuple[str, ...], images: Tensor) -> dict[str, Tensor]:
    """Return what each layer gives for ``images [B, C, H, W]`` in evaluation mode, by name: ``[B, ...]``.

    Raises:
        ScenarioError: The model has no layer of that name.
    """
    modules, found = dict(model.named_modules()), dict[str, Tensor]()
    unknown = next((name for name in layers if name not in modules), None)
    if unknown is not None:
        there = ", ".join(name for name in modules if name)
        raise ScenarioError(f"algorithm.layers: the model has no layer {unknown!r}; it has {there}")
    hooks = [
        modules[name].register_forward_hook(lambda _, __, given, name=name: found.update({name: given}))
        for name in layers
    ]
    trains = model.training
    try:
        with torch.no_grad():
            model.eval()(images)
    finally:
        model.train(trains)
        for hook in hooks:
            hook.remove()
    return found


@dataclass(frozen=True, eq=False)
class RepresentingFedAvg(FedAvg):
    """FedAvg with the representations of the first batch as extras, named after their layers.

    They are taken at the weights that the client was sent, which an attacker knows.

    Args:
        layers: Names of modules of the model.
    """

    reference: ClassVar[str] = "arXiv:2003.01876, section 5.2"

    layers: tuple[str, ...] = ()

    def corrected(self, pack: list[Tensor], client: Client, training: LocalTraining) -> list[Tensor]:
        """Send the representations; the pack stays as it is."""
        trained = client.weights.clone()
        client.weights.copy_(client.received)
        for name, given in outputs(client.model, self.layers, client.batches[0][0]).items():
            client.send(name, given)
        client.weights.copy_(trained)
        return pack
