"""DP: clip what a client sends and add Gaussian noise to it.

Reference: McMahan, Ramage, Talwar, Zhang, "Learning Differentially Private Recurrent Language Models", ICLR 2018,
arXiv:1710.06963 (clipping of whole updates); the noise is each client's own and not the server's.
"""

from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from priprune_defenses.accounting import library_or_refusal
from priprune_defenses.dp_claims import central_claim, reasons_against
from priprune_defenses.dp_record import count, record_entry
from priprune_defenses.streams import substream
from priprune_plugins import Client, Positive, Run, Server, Upload, hookimpl
from priprune_plugins.masks import apply_


@dataclass(frozen=True, eq=False)
class DP:
    """Clip the update and every other parameter-sized tensor that leaves, each to ``clip``, and add noise to each.

    The unit of protection is a client: two worlds differ in whether its update is there or 0, so the sensitivity is
    ``clip``. Every tensor sent is a mechanism of its own and is counted. The noise is drawn in floating point from a
    simulation's generator: the accounting is that of ideal Gaussian noise.

    SCAFFOLD's second tensor is not noised by itself: the host derives it anew from the noised update.

    ``epsilon_server`` is against the server, which knows who takes part. ``epsilon_central`` is against somebody who
    sees the model only, not who takes part, and needs ``secagg``. Both are null, with the reason, where something that
    depends on clean data leaves beside the noise, a mask for instance.

    Args:
        clip: Largest L2 norm of each tensor.
        noise: Deviation of the noise over ``clip``.
        delta: In (0, 1).

    Raises:
        ScenarioError: At the start of the run, dp-accounting is not installed.
    """

    clip: Positive = 1.0
    noise: Positive = 1.0
    delta: Annotated[float, Field(gt=0, lt=1)] = 1e-5

    withholds_openly: ClassVar[bool] = False

    # Read from the scenario at the start of the run, and nothing that a run changes.
    _against: ClassVar[tuple[str, ...]] = ("what else leaves is not known",)
    _sampled: ClassVar[float | None] = None

    def check_scenario(self, scenario: Mapping[str, Any]) -> None:
        """Refuse to promise what nothing can compute."""
        library_or_refusal()

    @hookimpl
    def on_run_start(self, run: Run) -> None:
        """Refuse to promise what nothing can compute, and note what voids the promise."""
        self.check_scenario(run.scenario)
        object.__setattr__(self, "_against", reasons_against(run.scenario))
        object.__setattr__(self, "_sampled", central_claim(run.scenario))

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload:
        """Clip and noise the update and the extras."""
        update = upload.weights - client.received
        noised = client.received + self._noised(update, client, 0)
        names = sorted(name for name, extra in upload.extras.items() if _is_vector(extra, upload))
        extras = dict(upload.extras)
        for index, name in enumerate(names, 1):
            if (client.facts.algorithm, name) != ("scaffold", "dc"):
                extras[name] = apply_(self._noised(extras[name], client, index), client.mask)
        return replace(upload, weights=apply_(noised, client.mask), extras=extras)

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None:
        """Count the noised tensors of each client."""
        count(server.state(self), upload)

    @hookimpl
    def on_round_end(self, server: Server, record: MutableMapping[str, Any]) -> None:
        """Add ``dp`` to the round's record: both epsilons and what each assumes."""
        record["dp"] = record_entry(
            server.state(self), self.noise, self.delta, server.round_idx + 1, self._sampled, self._against
        )

    def _noised(self, vector: Tensor, client: Client, index: int) -> Tensor:
        clipped = vector * min(1.0, self.clip / max(float(torch.linalg.vector_norm(vector)), 1e-30))
        noise = torch.randn(vector.shape, generator=substream(client.generator(self), index), dtype=vector.dtype)
        return clipped.add_(noise.to(vector.device), alpha=self.noise * self.clip)


def _is_vector(extra: Tensor, upload: Upload) -> bool:
    return extra.shape == upload.weights.shape and extra.is_floating_point()
