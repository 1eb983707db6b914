"""PriPrune: each client learns, per coordinate, the probability alpha of not sharing it.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Algorithm 3 and equations 6-8.
"""

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from priprune_defenses import composition
from priprune_defenses.alpha import logit_of_raw
from priprune_defenses.alpha_options import AlphaOptions
from priprune_defenses.descent import Pull, cut, descend_, layer_sizes
from priprune_defenses.gumbel import logistic, pooled
from priprune_defenses.learned_mask import Nonfinite, withheld_by_alpha
from priprune_defenses.local_epochs import ends_epoch, local_epoch
from priprune_defenses.streams import substream
from priprune_plugins import Client, Upload, hookimpl
from priprune_plugins.messages import State

_logger = logging.getLogger(__name__)

# Parts that stay in a core's cache on CPU; on a GPU few launches count more.
_CPU_CHUNK, _GPU_CHUNK = 2**17, 2**21


@dataclass(frozen=True, eq=False)
class PriPrune(AlphaOptions):
    """Adaptive pseudo-pruning: withhold where the learned alpha exceeds 0.5, keep it, start from it next time.

    Departures from Algorithm 3, each measured to be needed or to change nothing but speed:

    * ``lambda_acc`` scales alpha's objective only; scaling the weights' step by it as well diverges.
    * Alpha's gradient is in closed form and needs no second backward pass; it equals automatic differentiation.
    * The start is composed once, from the mask that was last uploaded with (the text after equation 8); the algorithm's
      fresh sample is ``compose: sample``, which re-samples in each epoch without discarding what was trained.
    * A layer is one parameter tensor, biases included; base-pruned coordinates count nowhere and keep their alpha.
    * The mode ``adaptive`` learns logits from alpha = 0.1 at a rate of its own. At the model's rate alpha hardly leaves
      its start, and the mode ``paper`` decides by the sign of a tiny step from exactly 0.5.
    * Coordinates far apart may share a draw of the Gumbel noise under ``compose: previous``.

    A setup round is not protected: no alpha is learned before training.

    Args:
        compose: What training starts from: ``previous``: own values where last withheld; ``sample``: where a fresh
            Gumbel sample says so.
        nonfinite: What happens to an alpha that is not a number while the weights are: the run stops, or that
            coordinate is withheld this time and its alpha starts anew, with a warning that counts them.
    """

    compose: Literal["previous", "sample"] = "previous"
    nonfinite: Nonfinite = "stop"

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        """Compose the start weights from the broadcast and the client's own (Algorithm 3, lines 2-7)."""
        state = _recalled(client.state(self), client.received.device)
        if "preference" not in state:
            state["preference"] = torch.full_like(client.received, self._first_preference())
        if "own" not in state:
            return
        if self.compose == "sample":
            state["sampled"] = self._sample(client, epoch=0)
        chosen = state["sampled"] if self.compose == "sample" else state["withheld"]
        client.compose(state["own"], chosen)

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        """Move alpha by one step (line 10); at the end of an epoch sample anew where asked to."""
        state = client.state(self)
        layers = cut(client.layout, _CPU_CHUNK if client.received.device.type == "cpu" else _GPU_CHUNK)
        sizes = layer_sizes(client.layout, client.mask)
        descend_(
            self._objective(sum(sizes)),
            state["preference"],
            client.loss_grads,
            client.mask,
            layers,
            sizes,
            self._alpha_lr(client),
            self._pull(client, [part for layer in layers for part in layer.parts]),
        )
        if "sampled" in state and ends_epoch(client):
            fresh = self._sample(client, local_epoch(client, client.step_idx + 1))
            composition.swap_(client.weights, client.received, state["own"], state["sampled"], fresh)
            state["sampled"] = fresh

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None:
        """Withhold where alpha > 0.5 and keep the trained weights (lines 11-13)."""
        if client.round_idx < 0:
            _logger.warning(
                "priprune: client %d's setup upload is sent whole: alpha is not learned yet", client.client_id
            )
            return None
        state = client.state(self)
        state.pop("sampled", None)
        if not torch.isfinite(upload.weights.sum()):
            # Training diverged, alpha with it; the host drops the upload and forgets this state.
            return None
        withheld = withheld_by_alpha(client, state, self._first_preference(), self.nonfinite)
        trained = client.trained
        composition.keep(state, trained, withheld, finite=trained is upload.weights)
        return upload.withhold(withheld)

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        """Evaluate what this client would use: the broadcast with its own values where it last withheld them."""
        state = _recalled(client.state(self), client.received.device)
        if "own" in state:
            client.compose(state["own"], state["withheld"])

    def _noise(self, client: Client, epoch: int) -> torch.Generator:
        return substream(client.generator(self), epoch)

    def _pull(self, client: Client, parts: list[slice]) -> Pull | None:
        own = client.state(self).get("own")
        if own is None or self.lambda_acc == 0:
            return None
        stream = self._noise(client, local_epoch(client, client.step_idx))
        if self.compose == "previous":
            noise = pooled(parts, 1 / self.tau, stream, own.device)
        else:
            whole = logistic(own.numel(), stream, own.device).div_(self.tau)
            noise = [whole[part] for part in parts]
        return Pull(client.received, own, noise)

    def _sample(self, client: Client, epoch: int) -> Tensor:
        """Return ``[D]`` bool, True = take the client's own value: the hard Gumbel sample of a local epoch."""
        preference = client.state(self)["preference"]
        logit = preference if self.mode == "adaptive" else logit_of_raw(preference)
        own = logistic(preference.numel(), self._noise(client, epoch), preference.device) < logit
        return own if client.mask is None else own & client.mask


def _recalled(state: State, device: torch.device) -> State:
    for name, value in state.items():
        if isinstance(value, Tensor):
            state[name] = value.to(device)
    return state
