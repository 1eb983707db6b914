"""One small federation, for the host and for the bridges: digits, a conv net with biases and a group norm."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from priprune_plugins.bridges.client_side import ClientSide
from priprune_plugins.bridges.leak_captures import LeakCaptures
from priprune_plugins.bridges.setting import Setting, make_setting
from priprune_plugins.bridges.state_dicts import StateDict, unpacked
from priprune_plugins.bridges.task import Task, Trained
from priprune_plugins.facts import Batch, Facts
from priprune_plugins.layout import Layout
from priprune_plugins.testing.federation import LR, SEED, small_data, small_net


@dataclass(frozen=True, eq=False)
class Foreign:
    """What another framework would do: settings, a training loop, a client's round."""

    folder: Path

    @property
    def facts(self) -> Facts:
        data = small_data()
        return Facts(
            build_model=small_net,
            layout=Layout.of(small_net()),
            image_shape=data.data.image_shape,
            num_classes=data.data.num_classes,
            lr=LR,
            batch_size=8,
            local_steps=2,
            epochs=None,
            algorithm="fedavg",
            mean_image=data.mean_image,
        )

    def setting(self, plugins: Mapping[str, Any], captures: LeakCaptures | None = None) -> Setting:
        return make_setting(small_net(), self.facts, plugins, self.folder, SEED, captures)

    def loop(self, model: nn.Module, batches: Iterable[Batch]) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=LR)
        model.train()
        for images, labels in batches:
            optimizer.zero_grad()
            functional.cross_entropy(model(images), labels).backward()
            optimizer.step()

    def client(
        self,
        side: ClientSide,
        broadcast: Mapping[str, Tensor],
        client_id: int,
        batches: Sequence[Batch],
        samples: int = 16,
        loop: Callable[[nn.Module, Iterable[Batch]], None] | None = None,
    ) -> tuple[Trained, StateDict]:
        """Return what a client leaves, and the state dict that it sends."""
        model, parcel = small_net(), unpacked(broadcast)
        model.load_state_dict(parcel.state)
        visit = side.begin(model, Task.read(parcel.beside, client_id, samples, len(batches)), batches)
        with visit.steps():
            (loop or self.loop)(model, visit.batches)
        trained = visit.finish()
        return trained, trained.packed(model.state_dict(), side.setting.facts.layout)

    def batches(self, client_id: int = 0, count: int = 2) -> list[Batch]:
        images, labels = small_data().client(client_id, "train")
        return list(zip(images.split(8), labels.split(8), strict=True))[:count]


@pytest.fixture
def foreign(tmp_path: Path) -> Foreign:
    """Another framework around a bridge."""
    return Foreign(tmp_path)
