"""Peak memory and disk of a run with many clients: Conv-2, 10,000 clients, 10 sampled a round, three kinds of state.

``none``      FedAvg: nothing is remembered of a client
``scaffold``  SCAFFOLD: one control variate a client
``priprune``  FedAvg with PriPrune: alpha, own weights and a mask a client

Each is a real run in a process of its own, checkpoints and files included, long enough that the states pass their
budget ``states.max_gib`` and go to disk. The data are scikit-learn's digits, repeated until each client has 20. What a
run says of the disk that it will need is shown as it says it.

Run: ``uv run python benchmarks/simulation_memory.py [--clients 10000] [--rounds 12] [--max-gib 4] [--cohort]``
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import yaml

from priprune_plugins.data.digits import Digits
from priprune_plugins.data.images import ImageData
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.run.runner import run_scenario
from priprune_plugins.run.watcher import Watcher
from priprune_plugins.scenario.reading import read_scenario

KINDS: dict[str, dict[str, Any]] = {
    "none": {},
    "scaffold": {"algorithm": {"name": "scaffold"}},
    "priprune": {"defenses": [{"name": "priprune", "theta": 1.3}]},
}
PER_CLIENT = 20


@dataclass(frozen=True, eq=False)
class ManyDigits:
    """Digits with 62 outputs, its training images repeated.

    Args:
        images: Training images in all.
    """

    images: int = 200_000

    def load(self) -> ImageData:
        """Return the images, grey, ``[N, 1, 28, 28]``."""
        data = Digits(num_classes=62).load()
        places = torch.arange(self.images) % len(data.train_labels)
        return replace(data, train_images=data.train_images[places], train_labels=data.train_labels[places])


class Teller(Watcher):
    """Prints what the run says."""

    def say(self, message: str) -> None:
        print(f"  said: {message}", file=sys.stderr, flush=True)

    def warn(self, message: str) -> None:
        print(f"  warned: {message}", file=sys.stderr, flush=True)


def scenario(kind: str, options: argparse.Namespace) -> dict[str, Any]:
    """Return the scenario of one kind of run."""
    images = PER_CLIENT * options.clients
    algorithm = {"name": "fedavg", "clients_per_round": 10, "local_steps": 1, "batch_size": 20, "lr": 0.05}
    return {
        "name": f"memory-{kind}",
        "rounds": options.rounds,
        "device": options.device,
        "data": {
            "name": "simulation_memory:ManyDigits",
            "images": images,
            "clients": options.clients,
            "partition": "iid",
        },
        "model": {"name": "conv2"},
        "algorithm": algorithm | KINDS[kind].get("algorithm", {}),
        "defenses": KINDS[kind].get("defenses", []),
        "simulation": {"cohort": options.cohort},
        "evaluation": {"every": options.rounds, "clients": 0},
        "states": {"max_gib": options.max_gib},
        # By rounds and not by time, so that a slow machine writes no more.
        "checkpoint": {"every": max(1, options.rounds // 3)},
        "modules": [str(Path(__file__).parent)],
    }


def measured(kind: str, options: argparse.Namespace) -> dict[str, float]:
    """Run one kind in this process and return its peak, the imports included, and the bytes of its states' files."""
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(yaml.safe_dump(scenario(kind, options)), encoding="utf-8")
        before, started, watch = peak_rss_bytes(), time.process_time(), DiskWatch(Path(folder) / "run")
        run_scenario(read_scenario(path), Path(folder) / "run", watch, attacked=False)
        seconds = time.process_time() - started
    return {"imports": before, "peak": peak_rss_bytes(), "disk": watch.largest, "seconds": seconds}


class DiskWatch(Teller):
    """Follows how much the clients' files take.

    Args:
        folder: The run folder.
    """

    def __init__(self, folder: Path) -> None:
        self._files = folder / "checkpoint" / "clients"
        self.largest = 0

    def round_done(self, record: Any) -> None:
        self.largest = max(self.largest, sum(file.stat().st_size for file in self._files.glob("*")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--max-gib", type=float, default=4.0, help="states.max_gib")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cohort", action="store_true", help="train a round's clients together")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=list(KINDS))
    parser.add_argument("--folder", help="where the runs are written; a disk with room")
    parser.add_argument("--one", metavar="KIND", help="measure one in this process")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        print(json.dumps(measured(options.one, options)))
        return
    print(f"Conv-2, {options.clients} clients, 10 a round, {options.rounds} rounds, states.max_gib {options.max_gib:g}")
    for kind in options.kinds:
        settings = [f"--{name}={value}" for name, value in settings_of(options).items()]
        command = [sys.executable, __file__, "--one", kind, *settings, *(["--cohort"] if options.cohort else [])]
        found = json.loads(
            subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        )
        print(
            f"{kind:9} peak {found['peak'] / 2**30:.2f} GiB of RAM, {found['imports'] / 2**30:.2f} of it imports; "
            f"clients' files at most {found['disk'] / 2**30:.2f} GiB; {found['seconds']:.1f} CPU-s in all",
            flush=True,
        )


def settings_of(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options that a run in its own process needs."""
    named = {"clients": options.clients, "rounds": options.rounds, "max-gib": options.max_gib, "device": options.device}
    return named | ({"folder": options.folder} if options.folder else {})


if __name__ == "__main__":
    main()
