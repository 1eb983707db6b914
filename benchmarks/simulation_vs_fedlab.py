"""A round of ours against a round of stock FedLab, and against forward and backward alone, in one process run.

Conv-2 (6,603,710 parameters), 10 clients, batch 20, one local step. The three take turns, so that a machine whose speed
drifts slows all of them. Peak memory is measured in a process of its own for each, over that process's imports.

Run: ``uv run python benchmarks/simulation_vs_fedlab.py [--pairs 7] [--threads 2] [--device cpu]``
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch
from torch import nn

from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import federate
from priprune_plugins.generators import generator
from priprune_plugins.layout import Layout
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.messages import Facts
from priprune_plugins.models.build import build_model
from priprune_plugins.models.leaf import Conv2
from priprune_plugins.plugins import PluginHost
from priprune_plugins.scenario.sections import AggregationSection, DataSection
from priprune_plugins.simulation.algorithm import LocalTraining
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.batches import ClientBatches, RoundDataset
from priprune_plugins.simulation.federation import Federation, Setting

CLIENTS, BATCH, LR, CLASSES = 10, 20, 0.1, 62
Round = Callable[[int], None]


def conv2(device: torch.device) -> nn.Module:
    """Return LEAF's Conv-2 with 62 classes."""
    stream = generator(0, "init")
    return build_model(Conv2(), (1, 28, 28), CLASSES, (0.3,), (0.3,), "he", stream).to(device)


class Bench:
    """Builds the three rounds on the same data and the same initial weights."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        images = Digits(num_classes=CLASSES).load()
        self.data = federate(images, DataSection(clients=CLIENTS, partition="iid"), 0).to(device)
        self.training = LocalTraining(1, BATCH, LR, CLIENTS, CLIENTS)

    def batches(self, round_idx: int, client_id: int) -> ClientBatches:
        stream = generator(0, "client", round_idx, client_id, "batches")
        return ClientBatches(*self.data.client(client_id, "train"), BATCH, 1, stream)

    def ours(self) -> Round:
        """A round of ours with no plugin."""
        model = conv2(self.device)
        facts = Facts(
            lambda: conv2(torch.device("cpu")),
            Layout.of(model),
            (1, 28, 28),
            CLASSES,
            LR,
            BATCH,
            1,
            None,
            "fedavg",
            self.data.mean_image,
        )
        federation = Federation(
            Setting(
                FedAvg(),
                self.training,
                1,
                10**6,
                model,
                self.data,
                facts,
                PluginHost(),
                AggregationSection(),
                "previous",
                0,
            )
        )

        def run(round_idx: int) -> None:
            federation.aggregate(federation.train(federation.start_round(round_idx)))

        return run

    def stock(self) -> Round:
        """A round of stock FedLab: its own trainer, handler and pipeline order."""
        cuda = (True, str(self.device)) if self.device.type == "cuda" else (False, None)
        model = conv2(self.device)
        trainer = FedAvg.trainer_class(model, CLIENTS, *cuda)
        trainer.setup_optim(1, BATCH, LR)
        dataset = RoundDataset(lambda client_id: self.data.client(client_id, "train"), CLIENTS)
        trainer.setup_dataset(dataset)
        handler = FedAvg.handler_class(model, 10**6, 1.0, *cuda)
        handler.num_clients = CLIENTS

        def run(round_idx: int) -> None:
            sampled = handler.sample_clients()
            dataset.drawn = {client_id: self.batches(round_idx, client_id) for client_id in sampled}
            trainer.local_process(handler.downlink_package, sampled)
            for pack in trainer.uplink_package:
                handler.load(pack)

        return run

    def floor(self) -> Round:
        """Forward and backward of ten clients, and nothing else."""
        model = conv2(self.device)

        def run(round_idx: int) -> None:
            for client_id in range(CLIENTS):
                for images, labels in self.batches(round_idx, client_id):
                    model.zero_grad()
                    nn.functional.cross_entropy(model(images), labels).backward()

        return run


def timed(run: Round, round_idx: int, device: torch.device) -> float:
    """Return the CPU seconds of a round (wall seconds on a GPU)."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    started = clock()
    run(round_idx)
    if device.type == "cuda":
        torch.cuda.synchronize()
    return clock() - started


def memory_of(kind: str, device: torch.device) -> int:
    """Return the peak bytes of three rounds over what the imports took, in this process."""
    bench = Bench(device)
    before = peak_rss_bytes()
    run = getattr(bench, kind)()
    for round_idx in range(3):
        run(round_idx)
    return peak_rss_bytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--memory", choices=("ours", "stock", "floor"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.memory:
        print(json.dumps(memory_of(options.memory, device)))
        return
    bench = Bench(device)
    runs = {name: getattr(bench, name)() for name in ("ours", "stock", "floor")}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for round_idx in range(options.pairs + 1):
        for name, run in runs.items():
            taken = timed(run, round_idx, device)
            if round_idx:  # the first round warms up
                seconds[name].append(taken)
    report(seconds, options)


def report(seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    unit = "s" if options.device.startswith("cuda") else "CPU-s"
    print(f"Conv-2, 10 clients, batch 20, one local step, {options.device}, {options.threads} threads")
    for name, values in seconds.items():
        ratios = [value / stock for value, stock in zip(values, seconds["stock"], strict=True)]
        print(
            f"{name:6} {statistics.median(values):7.3f} {unit} a round (min {min(values):.3f}, max {max(values):.3f}), "
            f"{statistics.median(ratios):.2f} of stock (median of {len(values)} pairs)"
        )
    peaks = {name: _peak(name, options) for name in seconds}
    for name, peak in peaks.items():
        print(f"{name:6} {peak / 2**20:7.0f} MiB peak over the imports, {peak / peaks['stock']:.2f} of stock")


def _peak(name: str, options: argparse.Namespace) -> int:
    command = [
        sys.executable,
        __file__,
        "--memory",
        name,
        "--threads",
        str(options.threads),
        "--device",
        options.device,
    ]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
