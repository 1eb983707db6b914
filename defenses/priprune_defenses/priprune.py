"""PriPrune: each client learns, per coordinate, the probability alpha of not sharing it.

Reference: Chu, Yang, Laoutaris, Markopoulou, "PriPrune: Quantifying and Preserving Privacy in Pruned Federated
Learning", 2023, arXiv:2310.19958, Algorithm 3 and equations 6-8.
"""

import logging
import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from priprune_defenses import composition
from priprune_defenses.alpha import Objective, Penalty, logit_of_raw
from priprune_defenses.descent import Pull, cut, descend_, layer_sizes
from priprune_defenses.gumbel import logistic, pooled
from priprune_defenses.streams import substream
from priprune_plugins import Client, NonNegative, Positive, RunError, ScenarioError, Upload, hookimpl
from priprune_plugins.masks import above, num_kept
from priprune_plugins.messages import State

_logger = logging.getLogger(__name__)

_DEFAULT_THETA = 1.3
_ADAPTIVE_LR, _ADAPTIVE_PARAMETERS = 1e3, 109_470
# Parts that stay in a core's cache on CPU; on a GPU few launches count more.
_CPU_CHUNK, _GPU_CHUNK = 2**17, 2**21


@dataclass(frozen=True, eq=False)
class PriPrune:
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
        mode: ``adaptive``, or ``paper``: alpha itself, from exactly 0.5, at the model's learning rate.
        theta: A coordinate at alpha = 0.5 is withheld iff ``|g|`` exceeds ``theta`` times its layer's mean, whatever
            the model's size; None = 1.3 unless ``lambda_sha`` is given.
        lambda_acc: Weight of the accuracy loss in alpha's objective; the paper tries 1, 5, 10.
        lambda_pri: Weight of the privacy loss; the paper tries 1, 5, 10, 15, 20.
        lambda_sha: Weight of the sum of alphas, instead of ``theta = N * lambda_sha / (2 * lambda_pri)``; the paper
            tries 1e-4, 2e-5, 2e-6 with N = 6,603,710.
        alpha_init: Alpha before the first participation, in (0, 1); None = 0.1, or 0.5 in ``paper`` mode.
        alpha_lr: Step size of alpha; None = 1e3 per 109,470 parameters, or the model's own in ``paper`` mode.
        tau: Temperature of the Gumbel-Softmax.
        compose: What training starts from: ``previous``: own values where last withheld; ``sample``: where a fresh
            Gumbel sample says so.
        penalty: ``all``: the sum of alphas over all coordinates; ``withheld``: as printed, over the withheld ones,
            which in ``paper`` mode withholds every coordinate of nonzero gradient at once.
        nonfinite: What happens to an alpha that is not a number while the weights are: the run stops, or that
            coordinate is withheld this time and its alpha starts anew, with a warning that counts them.

    Raises:
        ScenarioError: Both ``theta`` and ``lambda_sha``, or an ``alpha_init`` outside (0, 1).
    """

    mode: Literal["adaptive", "paper"] = "adaptive"
    theta: Positive | None = None
    lambda_acc: NonNegative = 1.0
    lambda_pri: Positive = 10.0
    lambda_sha: NonNegative | None = None
    alpha_init: Positive | None = None
    alpha_lr: Positive | None = None
    tau: Positive = 0.7
    compose: Literal["previous", "sample"] = "previous"
    penalty: Penalty = "all"
    nonfinite: Literal["stop", "reset"] = "stop"

    def __post_init__(self) -> None:
        if self.theta is not None and self.lambda_sha is not None:
            raise ScenarioError(
                f"defense priprune: give theta or lambda_sha, not both, got {self.theta} and {self.lambda_sha}; "
                "leave one out"
            )
        if self.alpha_init is not None and not 0 < self.alpha_init < 1:
            raise ScenarioError(f"defense priprune: alpha_init must be between 0 and 1, got {self.alpha_init}")

    @hookimpl
    def on_local_train_start(self, client: Client) -> None:
        """Compose the start weights from the broadcast and the client's own (Algorithm 3, lines 2-7)."""
        state = _recalled(client.state(self), client.weights.device)
        if "preference" not in state:
            state["preference"] = torch.full_like(client.weights, self._first_preference())
        if "own" not in state:
            return
        if self.compose == "sample":
            state["sampled"] = self._sample(client, epoch=0)
        chosen = state["sampled"] if self.compose == "sample" else state["withheld"]
        composition.compose_(client.weights, state["own"], chosen)

    @hookimpl
    def on_local_step(self, client: Client) -> None:
        """Move alpha by one step (line 10); at the end of an epoch sample anew where asked to."""
        state = client.state(self)
        layers = cut(client.layout, _CPU_CHUNK if client.weights.device.type == "cpu" else _GPU_CHUNK)
        sizes = layer_sizes(client.layout, client.mask)
        descend_(
            self._objective(sum(sizes)),
            state["preference"],
            client.loss_grad,
            client.mask,
            layers,
            sizes,
            self._alpha_lr(client),
            self._pull(client, [part for layer in layers for part in layer.parts]),
        )
        following = _epoch(client, client.step_idx + 1)
        if "sampled" in state and following > _epoch(client) and client.step_idx + 1 < client.num_steps:
            fresh = self._sample(client, following)
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
        withheld = self._withheld(client, state["preference"])
        composition.keep(state, client.weights, withheld)
        return upload.withhold(withheld)

    @hookimpl
    def on_client_evaluate(self, client: Client) -> None:
        """Evaluate what this client would use: the broadcast with its own values where it last withheld them."""
        state = _recalled(client.state(self), client.weights.device)
        if "own" in state:
            composition.compose_(client.weights, state["own"], state["withheld"])

    def _first_preference(self) -> float:
        alpha = self.alpha_init or (0.5 if self.mode == "paper" else 0.1)
        return alpha - 0.5 if self.mode == "paper" else math.log(alpha / (1 - alpha))

    def _alpha_lr(self, client: Client) -> float:
        if self.alpha_lr is not None:
            return self.alpha_lr
        if self.mode == "paper":
            return client.facts.lr
        return _ADAPTIVE_LR * client.layout.num_parameters / _ADAPTIVE_PARAMETERS

    def _objective(self, num_kept: int) -> Objective:
        theta = _DEFAULT_THETA if self.theta is None else self.theta
        privacy = self.lambda_pri / max(num_kept, 1)
        return Objective(
            parameterisation="raw" if self.mode == "paper" else "logit",
            lambda_acc=self.lambda_acc,
            privacy=privacy,
            lambda_sha=2 * theta * privacy if self.lambda_sha is None else self.lambda_sha,
            tau=self.tau,
            penalty=self.penalty,
        )

    def _noise(self, client: Client, epoch: int) -> torch.Generator:
        return substream(client.generator(self), epoch)

    def _pull(self, client: Client, parts: list[slice]) -> Pull | None:
        own = client.state(self).get("own")
        if own is None or self.lambda_acc == 0:
            return None
        stream = self._noise(client, _epoch(client))
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

    def _withheld(self, client: Client, preference: Tensor) -> Tensor:
        """Return ``[D]`` bool: alpha > 0.5 and kept by the base mask."""
        withheld = above(preference, 0.0)
        if not torch.isfinite(preference.sum()):
            withheld |= self._mended(client, preference)
        if client.mask is not None:
            withheld &= client.mask
        kept = withheld.numel() if client.mask is None else num_kept(client.mask)
        if num_kept(withheld) == kept:
            _logger.warning("priprune: client %d withholds everything in round %d", client.client_id, client.round_idx)
        return withheld

    def _mended(self, client: Client, preference: Tensor) -> Tensor:
        """Start the alphas anew that are not finite, in place, and return where they were.

        Raises:
            RunError: The option ``nonfinite`` says to stop.
        """
        broken = ~torch.isfinite(preference)
        count = num_kept(broken)
        if count and self.nonfinite == "stop":
            raise RunError(
                f"defense priprune: {count} alphas of client {client.client_id} are not a number after round "
                f"{client.round_idx}; lower algorithm.lr or alpha_lr, or set nonfinite: reset"
            )
        preference[broken] = self._first_preference()
        state = client.state(self)
        state["resets"] = state.get("resets", 0) + count
        _logger.warning(
            "priprune: %d alphas of client %d were not a number in round %d and start anew, %d so far",
            *(count, client.client_id, client.round_idx, state["resets"]),
        )
        return broken


def _recalled(state: State, device: torch.device) -> State:
    for name, value in state.items():
        if isinstance(value, Tensor):
            state[name] = value.to(device)
    return state


def _epoch(client: Client, step_idx: int | None = None) -> int:
    """Return the local epoch of a step: one pass over the client's images each."""
    steps = -(-client.num_samples // client.facts.batch_size)
    return (client.step_idx if step_idx is None else step_idx) // steps
