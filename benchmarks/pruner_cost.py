"""What each pruner's decision costs beside the training of the same run: time and peak memory, on Conv-2 and VGG-11.

Ten clients, batch 20, one local step, every decision as often as can be (each round). Each pruner runs in a process of
its own. Its time is what its hooks take in a round, for the server and all ten clients, against forward and backward
of the ten clients measured after each round of the same run; its memory is the run's peak against that of a run without
a pruner. PruneFL's first stage is left out: it is a training of ``initial_passes`` passes over up to ten batches.

Run: ``uv run python benchmarks/pruner_cost.py [--rounds 4] [--threads 1] [--device cpu]``
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import federate
from priprune_plugins.data.images import ImageData
from priprune_plugins.generators import generator
from priprune_plugins.hookspecs import HookSpecs
from priprune_plugins.layout import Layout
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.messages import Facts
from priprune_plugins.models.build import build_model
from priprune_plugins.models.leaf import Conv2
from priprune_plugins.models.vgg import VGG11
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.scenario.sections import AggregationSection, DataSection
from priprune_plugins.simulation.algorithm import LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.setting import Setting
from priprune_pruners.feddst import FedDST
from priprune_pruners.grasp import GraSP
from priprune_pruners.lotteryfl import LotteryFL
from priprune_pruners.magnitude import Magnitude
from priprune_pruners.prunefl import PruneFL
from priprune_pruners.random import Random
from priprune_pruners.snip import Snip
from priprune_pruners.synflow import SynFlow

CLIENTS, BATCH, LR, RATE = 10, 20, 0.1, 0.3
MODELS: dict[str, tuple[Any, Digits, int]] = {
    "conv2": (Conv2(), Digits(num_classes=62), 1),
    "vgg11": (VGG11(), Digits(size=32), 3),
}
PRUNERS: dict[str, tuple[type, dict[str, Any]]] = {
    "random": (Random, {}),
    "magnitude": (Magnitude, {"schedule": "iterative", "every": 1, "fraction": 0.1}),
    "snip": (Snip, {}),
    "grasp": (GraSP, {}),
    "synflow": (SynFlow, {}),
    "feddst": (FedDST, {"every": 1, "until": 1000}),
    "prunefl": (PruneFL, {"every": 1, "initial": "magnitude"}),
    "lotteryfl": (LotteryFL, {"accuracy": 0.0, "fraction": 0.1}),
}


class Clock:
    """Adds up the seconds of what it is asked to time: CPU seconds, or wall seconds on a GPU."""

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self.seconds = 0.0

    def now(self) -> float:
        """Return the time, all work on the device done."""
        if self._cuda:
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return ``function``, its seconds added to the clock."""

        @functools.wraps(function)
        def run(*args: Any, **kwargs: Any) -> Any:
            started = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += self.now() - started

        return run

    def taken(self) -> float:
        """Return the seconds so far and begin anew."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds


def clocked(pruner: type, clock: Clock) -> type:
    """Return the pruner's class with every hook on the clock."""
    hooks = [name for name in vars(HookSpecs) if name.startswith("on_") and hasattr(pruner, name)]
    return type(pruner.__name__, (pruner,), {name: clock.timed(getattr(pruner, name)) for name in hooks})


def images(digits: Digits, channels: int) -> ImageData:
    """Return digits in as many equal channels as the model takes."""
    data = digits.load()
    train, test = (part.expand(-1, channels, -1, -1).contiguous() for part in (data.train_images, data.test_images))
    return replace(data, train_images=train, test_images=test, mean=data.mean * channels, std=data.std * channels)


def federation(model_name: str, hooked: tuple[Registered, ...], device: torch.device) -> Federation:
    """Return the federation of one measurement."""
    architecture, digits, channels = MODELS[model_name]
    given = images(digits, channels)
    data = federate(given, DataSection(clients=CLIENTS, partition="iid", validation=0.2, public=BATCH), 0).to(device)

    def build() -> nn.Module:
        shape, stream = given.image_shape, generator(0, "init")
        return build_model(architecture, shape, given.num_classes, given.mean, given.std, "he", stream)

    model = build().to(device)
    facts = Facts(
        build_model=build,
        layout=Layout.of(model),
        image_shape=given.image_shape,
        num_classes=given.num_classes,
        lr=LR,
        batch_size=BATCH,
        local_steps=1,
        epochs=None,
        algorithm="fedavg",
        mean_image=data.mean_image,
    )
    setting = Setting(
        algorithm=FedAvg(),
        training=LocalTraining(1, BATCH, LR, CLIENTS, CLIENTS),
        steps=1,
        rounds=10**6,
        model=model,
        data=data,
        facts=facts,
        host=PluginHost(hooked),
        aggregation=AggregationSection(),
        absent="previous",
        seed=0,
    )
    return Federation(setting)


def forward_backward(federated: Federation) -> None:
    """Forward and backward of ten clients, and nothing else."""
    model = federated.runner.trainer.model
    for client_id in range(CLIENTS):
        pixels, labels = (part[:BATCH] for part in federated.setting.data.client(client_id, "train"))
        torch.autograd.grad(nn.functional.cross_entropy(model(pixels), labels), list(model.parameters()))


def measured(model_name: str, pruner_name: str, rounds: int, device: torch.device) -> dict[str, float]:
    """Return seconds of the costliest round of the hooks, of forward and backward, and peak bytes, in this process."""
    before, clock = peak_rss_bytes(), Clock(device)
    hooked: tuple[Registered, ...] = ()
    if pruner_name in PRUNERS:
        pruner, options = PRUNERS[pruner_name]
        made = clocked(pruner, clock)(rate=RATE, **options)
        hooked = (Registered("pruners", pruner_name, f"pruner:{pruner_name}", made),)
    federated = federation(model_name, hooked, device)
    federated.setup()
    floor, hooks, floors = Clock(device), [], []
    for round_idx in range(rounds):
        federated.aggregate(federated.train(federated.start_round(round_idx)))
        hooks.append(clock.taken())
        floor.timed(forward_backward)(federated)
        floors.append(floor.taken())
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_rss_bytes() - before
    return {"seconds": max(hooks), "usual": min(hooks), "floor": statistics.median(floors), "peak": float(peak)}


def in_own_process(model_name: str, pruner_name: str, options: argparse.Namespace) -> dict[str, float]:
    """Return what :func:`measured` gives in a new process."""
    numbers = ["--rounds", str(options.rounds), "--threads", str(options.threads), "--device", options.device]
    command = [sys.executable, __file__, "--one", model_name, pruner_name, *numbers]
    # glibc keeps freed blocks of up to 32 MiB for itself, Conv-2's vectors among them: they would count as in use.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(2**18)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    answer = done.stdout.splitlines()[-1]
    figures: dict[str, float] = json.loads(answer)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", nargs=2, metavar=("MODEL", "PRUNER"), help="measure one in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(measured(*options.one, options.rounds, torch.device(options.device))))
        return
    unit = "s" if options.device.startswith("cuda") else "CPU-s"
    for model_name in MODELS:
        bare = in_own_process(model_name, "none", options)
        print(
            f"{model_name}: forward and backward of a round {bare['floor']:.2f} {unit}, peak {_mib(bare)}", flush=True
        )
        for pruner_name in PRUNERS:
            figures = in_own_process(model_name, pruner_name, options)
            print(
                f"  {pruner_name:9} {figures['seconds']:7.2f} {unit} in its costliest round, "
                f"{figures['seconds'] / figures['floor']:6.2f} of forward and backward; "
                f"{figures['usual'] / figures['floor']:5.2f} in its cheapest; "
                f"peak {_mib(figures)}, {figures['peak'] / bare['peak']:.2f} of the run without",
                flush=True,
            )


def _mib(figures: dict[str, float]) -> str:
    return f"{figures['peak'] / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
