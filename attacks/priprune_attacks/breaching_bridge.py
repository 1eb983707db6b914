"""Breaching's optimisation attacks, run by breaching itself on our captures.

For comparison with the field's own tool: ``{name: breaching, config: invertinggradients}``. Breaching knows nothing of
pruning: it matches the whole pseudo-gradient, absent coordinates at 0, with an unmasked dummy gradient. What it needs
around it: images of other than three channels get a total variation that fits them (its own is hard-wired to three);
labels are cut to the batch's number (it only pads); the labels that its joint attacks return are those of their random
start and are dropped; Ctrl-C, which it swallows, is raised again.

Reference: Geiping et al., the library breaching, https://github.com/JonasGeiping/breaching, MIT licence.
"""

import io
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from priprune_attacks.shared_model import model_at
from priprune_attacks.targets import Fill, MaskRule, Reference, Target, pseudo_gradient
from priprune_plugins import Count, Observation, Progress, Reconstruction, ScenarioError, hookimpl
from priprune_plugins.errors import missing_extra
from priprune_plugins.generators import seeded_globals
from priprune_plugins.models.standardise import Standardise

_KINDS = ("optimization", "joint-optimization")
_REPORT_EVERY = 25


@dataclass(frozen=True, eq=False)
class Breaching:
    """Any optimisation attack of breaching, by the name of its configuration.

    Args:
        config: One of breaching's attack configurations whose type is ``optimization`` or ``joint-optimization``.
        iterations: Steps per trial; None = the configuration's own, 24,000 for ``invertinggradients``.
        overrides: Hydra overrides of that configuration, for instance ``regularization.total_variation.scale=0.01``.
        labels: ``own``: breaching's label recovery, as the configuration has it; ``true``: granted by the host.
        reference: Weights that the upload is compared with.
        mask: Coordinates of the pseudo-gradient that are not set to 0; the dummy gradient stays unmasked.
        fill: What an absent coordinate counts.
        oracle: Be granted the weights that the client really started from.
    """

    config: str = "invertinggradients"
    iterations: Count | None = None
    overrides: tuple[str, ...] = ()
    labels: Literal["own", "true"] = "own"
    reference: Reference = "broadcast"
    mask: MaskRule = "none"
    fill: Fill = "broadcast"
    oracle: bool = False

    @hookimpl
    def reconstruct(
        self, observations: Sequence[Observation], generator: torch.Generator, progress: Progress
    ) -> list[Reconstruction]:
        """Return one reconstruction per observation, one after the other."""
        library = _imported()
        chosen = self._config(library)
        guesses = []
        for done, seen in enumerate(observations):
            seed = int(torch.randint(2**62, (), generator=generator))
            bar = partial(_scaled, progress, done, len(observations))
            with seeded_globals(seed, "breaching"):
                guesses.append(self._guess(library, chosen, seen, bar))
        progress(1.0)
        return guesses

    def _config(self, library: Any) -> Any:
        steps = [] if self.iterations is None else [f"optim.max_iterations={self.iterations}"]
        try:
            with redirect_stdout(io.StringIO()):
                chosen = library.get_attack_config(self.config, [*steps, *self.overrides])
        except Exception as error:
            reason = str(error).strip().splitlines()[0]
            raise ScenarioError(f"attack breaching: config {self.config!r} cannot be read: {reason}") from error
        if chosen.attack_type not in _KINDS:
            raise ScenarioError(
                f"attack breaching: config {self.config!r} is of type {chosen.attack_type}; "
                f"allowed: {', '.join(_KINDS)}"
            )
        return chosen

    def _guess(self, library: Any, chosen: Any, seen: Observation, bar: Progress) -> Reconstruction:
        target = pseudo_gradient(seen, mask=self.mask, fill=self.fill, reference=self.reference)
        if target.flaw is not None:
            return _nothing(seen, target.flaw)
        return _Session(library, chosen, seen, target, seen.labels if self.labels == "true" else None).run(bar)


class _Session:
    """One observation as breaching wants it."""

    def __init__(self, library: Any, chosen: Any, seen: Observation, target: Target, labels: Tensor | None) -> None:
        self._chosen, self._seen = chosen, seen
        model = model_at(seen.facts, target.point, seen.broadcast_buffers).requires_grad_()
        net: nn.Module = model.net if isinstance(model, Standardise) else model
        # A server without the client's batch statistics: breaching then takes those of its own batch.
        fixed = None if seen.broadcast_buffers else [buffer.clone() for buffer in net.buffers()]
        self._about = _metadata(seen, model)
        self._payload = [
            {"parameters": [p.detach() for p in net.parameters()], "buffers": fixed, "metadata": self._about}
        ]
        gradients = list(seen.facts.layout.unflatten(target.gradient).values())
        known = {"num_data_points": seen.num_images, "labels": labels, "local_hyperparams": None}
        self._shared = [{"gradients": gradients, "buffers": None, "metadata": known}]
        setup = {"device": target.point.device, "dtype": target.point.dtype}
        self._attacker = library.attacks.prepare_attack(net, nn.CrossEntropyLoss(), chosen, setup)
        _fit_channels(self._attacker, seen.facts.image_shape[0])

    def run(self, bar: Progress) -> Reconstruction:
        attacker, most = self._attacker, int(self._chosen.optim.max_iterations)
        watched = _Watched(attacker.objective, most * int(self._chosen.restarts.num_trials), bar)
        attacker.objective = watched
        recover = attacker._recover_label_information
        attacker._recover_label_information = lambda *given: recover(*given)[: self._seen.num_images]
        with redirect_stdout(io.StringIO()):
            found, stats = attacker.reconstruct(self._payload, self._shared, server_secrets={})
        losses = [values for name, values in stats.items() if name.startswith("Trial_")]
        if watched.finite and any(len(values) < most for values in losses):
            raise KeyboardInterrupt
        return self._reconstruction(found, stats, losses)

    def _reconstruction(self, found: Any, stats: Any, losses: list[list[float]]) -> Reconstruction:
        loss = float(stats["opt_value"])
        if not torch.isfinite(torch.tensor(loss)):
            return _nothing(self._seen, "breaching found no guess with a finite loss")
        images = found["data"] * self._attacker.ds + self._attacker.dm
        joint = self._chosen.attack_type == "joint-optimization"
        trace = torch.tensor(min(losses, key=lambda values: min(values, default=torch.inf)))
        labels = None if joint else found["labels"].long().detach()
        return Reconstruction(images.detach().clamp(0.0, 1.0).to(self._seen.broadcast), labels, loss, trace)


class _Watched:
    """Breaching's objective with a look at every value that it gives."""

    def __init__(self, objective: Any, total: int, bar: Progress) -> None:
        self._objective, self._total, self._bar = objective, total, bar
        self._calls = 0
        self.finite = True

    def initialize(self, *given: Any) -> None:
        self._objective.initialize(*given)

    def __call__(self, *given: Any) -> Any:
        value, task_loss = self._objective(*given)
        if self._calls % _REPORT_EVERY == 0:
            loss = float(value.detach())
            self.finite = self.finite and bool(torch.isfinite(torch.tensor(loss)))
            self._bar(min(1.0, self._calls / self._total), loss)
        self._calls += 1
        return value, task_loss


def _imported() -> Any:
    try:
        import breaching
    except ImportError as error:
        raise missing_extra("attack breaching", "breaching, hydra-core and lpips", "breaching") from error
    return breaching


def _metadata(seen: Observation, model: nn.Module) -> Any:
    from omegaconf import OmegaConf

    facts = seen.facts
    about: dict[str, Any] = {
        "shape": list(facts.image_shape),
        "modality": "vision",
        "task": "classification",
        "classes": facts.num_classes,
    }
    if isinstance(model, Standardise):
        about |= {"mean": list(model.mean), "std": list(model.std)}
    return OmegaConf.create(about)


def _fit_channels(attacker: Any, channels: int) -> None:
    if channels == 3:
        return
    if "patterned" in attacker.cfg.init or "wei" in attacker.cfg.init:
        raise ScenarioError(
            f"attack breaching: init {attacker.cfg.init} needs 3 channels, the images have {channels}: "
            "add init=randn to overrides"
        )
    for regularizer in attacker.regularizers:
        if type(regularizer).__name__ == "TotalVariation":
            if regularizer.double_opponents:
                raise ScenarioError(
                    "attack breaching: double opponents need 3 channels: "
                    "add regularization.total_variation.double_opponents=False to overrides"
                )
            regularizer.groups, regularizer.weight = channels, regularizer.weight[:2].repeat(channels, 1, 1, 1)


def _nothing(seen: Observation, reason: str) -> Reconstruction:
    images = seen.facts.mean_image.to(seen.broadcast).repeat(seen.num_images, 1, 1, 1)
    return Reconstruction(images, None, float("inf"), torch.empty(0), reason)


def _scaled(progress: Callable[..., None], done: int, total: int, share: float, loss: float | None = None) -> None:
    progress((done + share) / total, loss)
