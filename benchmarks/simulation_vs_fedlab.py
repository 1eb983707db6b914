"""A round of ours against a round of stock FedLab, and against forward and backward alone, in one process run.

Conv-2 (6,603,710 parameters), 10 clients, batch 20, one local step. All take turns, so that a machine whose speed
drifts slows all of them; a ratio is the median over these turns. Peak memory is measured in a process of its own for
each, over that process's imports.

``ours``      no plugin
``no-ops``    a plugin with every hook, each of which does nothing
``defended``  PruneFL 0.3 and PriPrune
``captured``  the same, and four of the ten uploads written down for attacks, as in a round that is attacked
``cohort, …`` the same with the clients trained together (``--cohort``)
``stock``     FedLab's own trainer, handler and order
``floor``     forward and backward of the ten clients one after another, and nothing else

``--paper`` also gives how long the paper's 20,000 rounds take at the measured speed.

Run: ``uv run python benchmarks/simulation_vs_fedlab.py [--pairs 7] [--threads 2] [--device cpu] [--cohort] [--paper]``
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from pruner_cost import BATCH, CLIENTS, LR, Clock, federation, forward_backward

from priprune_defenses.priprune import PriPrune
from priprune_plugins import Client, Server, Upload, hookimpl
from priprune_plugins.generators import generator
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.plugins import Registered
from priprune_plugins.run.captures import CaptureStore, upload_key
from priprune_plugins.scenario.sections import SimulationSection
from priprune_plugins.simulation.algorithms.fedavg import FedAvg
from priprune_plugins.simulation.batches import ClientBatches, RoundDataset
from priprune_plugins.simulation.cohort_choice import CohortChoice
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent
from priprune_pruners.prunefl import PruneFL

KINDS = ("ours", "no-ops", "defended", "captured", "stock", "floor")
COHORTS = ("cohort, ours", "cohort, defended")
CAPTURED, PAPER_ROUNDS = 4, 20_000
# PriPrune has weights of its own from a client's second participation on.
WARM_UP = 2
Round = Callable[[int], None]


@dataclass(frozen=True, eq=False)
class NoOps:
    """Has every hook of a round and does nothing in any."""

    @hookimpl
    def on_round_start(self, server: Server) -> None: ...

    @hookimpl
    def on_local_train_start(self, client: Client) -> None: ...

    @hookimpl
    def on_local_step(self, client: Client) -> None: ...

    @hookimpl
    def on_local_train_end(self, client: Client) -> None: ...

    @hookimpl
    def before_upload(self, client: Client, upload: Upload) -> Upload | None: ...

    @hookimpl
    def on_server_receive(self, server: Server, upload: Upload) -> None: ...

    @hookimpl
    def on_aggregate_end(self, server: Server) -> None: ...


def plugins(kind: str) -> tuple[Registered, ...]:
    """Return the plugins of one kind of round."""
    if kind == "no-ops":
        return (Registered("defenses", "no-ops", "defenses[0]:no-ops", NoOps()),)
    if kind in ("defended", "captured"):
        pruner = Registered("pruners", "prunefl", "pruner:prunefl", PruneFL(rate=0.3, initial="magnitude"))
        return (pruner, Registered("defenses", "priprune", "defenses[0]:priprune", PriPrune(theta=1.3)))
    return ()


def ours(kind: str, device: torch.device) -> Round:
    """A round of ours; ``cohort, x`` is x with the clients trained together."""
    together, _, name = kind.rpartition(", ")
    crew = CohortChoice(SimulationSection(cohort=bool(together)))
    federated = Federation(replace(federation("conv2", plugins(name), device).setting, crew=crew))
    federated.setup()
    seen = capturing(federated) if name == "captured" else None

    def run(round_idx: int) -> None:
        federated.aggregate(federated.train(federated.start_round(round_idx), seen))

    return run


def capturing(federated: Federation) -> Callable[[Sent], None]:
    """Return what writes uploads down; the same four clients' each round, so that the folder does not grow."""
    temporary = tempfile.TemporaryDirectory(prefix="captured_")
    folder = Path(temporary.name) / "run"
    folder.mkdir()
    store = CaptureStore(folder)

    def seen(sent: Sent) -> None:
        (client_id,) = sent.upload.client_ids
        if client_id < CAPTURED:
            store.write_upload(upload_key(sent.upload), "training", sent, federated.setting.facts)
        if client_id == CLIENTS - 1:
            # The folder lives as long as this function knows the object that removes it.
            shutil.rmtree(Path(temporary.name) / "run")
            folder.mkdir()

    return seen


def stock(device: torch.device) -> Round:
    """A round of stock FedLab on the same data and the same initial weights."""
    made = federation("conv2", (), device).setting
    cuda = (True, str(device)) if device.type == "cuda" else (False, None)
    trainer = FedAvg.trainer_class(made.model, CLIENTS, *cuda)
    trainer.setup_optim(1, BATCH, LR)
    dataset = RoundDataset(lambda client_id: made.data.client(client_id, "train"), CLIENTS)
    trainer.setup_dataset(dataset)
    handler = FedAvg.handler_class(made.model, 10**6, 1.0, *cuda)
    handler.num_clients = CLIENTS

    def batches(round_idx: int, client_id: int) -> ClientBatches:
        stream = generator(0, "client", round_idx, client_id, "batches")
        return ClientBatches(*made.data.client(client_id, "train"), BATCH, 1, stream)

    def run(round_idx: int) -> None:
        sampled = handler.sample_clients()
        dataset.drawn = {client_id: batches(round_idx, client_id) for client_id in sampled}
        trainer.local_process(handler.downlink_package, sampled)
        for pack in trainer.uplink_package:
            handler.load(pack)

    return run


def floor(device: torch.device) -> Round:
    """Forward and backward of ten clients, and nothing else."""
    federated = federation("conv2", (), device)
    return lambda round_idx: forward_backward(federated)


def round_of(kind: str, device: torch.device) -> Round:
    """Return one kind of round."""
    made: dict[str, Callable[[torch.device], Round]] = {"stock": stock, "floor": floor}
    return made[kind](device) if kind in made else ours(kind, device)


def memory_of(kind: str, device: torch.device) -> int:
    """Return the peak bytes of three rounds over what the imports took, in this process."""
    before = peak_rss_bytes()
    run = round_of(kind, device)
    for round_idx in range(3):
        run(round_idx)
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_rss_bytes() - before


def measured(kinds: list[str], pairs: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each kind's rounds, all kinds in turn."""
    runs = {kind: round_of(kind, device) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    clock = Clock(device)
    for round_idx in range(pairs + WARM_UP):
        for kind, run in runs.items():
            clock.timed(run)(round_idx)
            seconds[kind].append(clock.taken())
    return {kind: values[WARM_UP:] for kind, values in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--kinds", nargs="+", choices=(*KINDS, *COHORTS), help="measure these only")
    parser.add_argument("--cohort", action="store_true", help="clients that train together, too")
    parser.add_argument("--paper", action="store_true", help="say how long the paper's run would take")
    parser.add_argument("--no-memory", action="store_true", help="time only")
    parser.add_argument("--memory", metavar="KIND", help="measure the memory of one kind in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.memory:
        print(json.dumps(memory_of(options.memory, device)))
        return
    kinds = options.kinds or [*KINDS, *(COHORTS if options.cohort else ())]
    report(measured(kinds, options.pairs, device), options)


def report(seconds: dict[str, list[float]], options: argparse.Namespace) -> None:
    unit = "s" if options.device.startswith("cuda") else "CPU-s"
    print(f"Conv-2, 10 clients, batch 20, one local step, {options.device}, {options.threads} threads")
    for kind, values in seconds.items():
        ratios = "".join(f", {ratio(values, seconds[to]):.3f} of {to}" for to in ("stock", "ours") if to in seconds)
        spread = f"min {min(values):.3f}, max {max(values):.3f}"
        print(f"{kind:16} {statistics.median(values):7.3f} {unit} a round ({spread}){ratios}")
        if options.paper:
            print(f"{'':16} {statistics.median(values) * PAPER_ROUNDS / 60:7.1f} minutes for {PAPER_ROUNDS} rounds")
    if options.no_memory:
        return
    for kind in seconds:
        print(f"{kind:16} {_peak(kind, options) / 2**20:7.0f} MiB peak over the imports", flush=True)


def ratio(values: list[float], to: list[float]) -> float:
    """Return the median over turns of one kind's time over another's."""
    return statistics.median(value / other for value, other in zip(values, to, strict=True))


def _peak(kind: str, options: argparse.Namespace) -> int:
    settings: list[Any] = ["--threads", options.threads, "--device", options.device]
    command = [sys.executable, __file__, "--memory", kind, *map(str, settings)]
    return int(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
