"""Gradient matching of ours against breaching's ``invertinggradients``, on the same uploads, in one process run.

One image a victim, one local step, cosine and total variation 0.2, signed Adam: what differs is the start (breaching:
normal noise, ours: uniform noise) and the schedule (steps, cosine). Breaching attacks one victim at a time; ours attack
1, 16 or 64 as one batch (1, 64 or 1024 on a GPU), and 16 whose model is pruned at random .3 with masked gradients. They
take turns, so that a machine whose speed drifts slows all of them, each in a process of its own: in one process the
freed memory of one serves the others, and breaching, whose 25 MB temporaries otherwise come fresh from the system at
every iteration, runs up to twice as fast as it does for its users. A rate counts iterations between an attack's own
progress reports, so that no set-up is in it. Peak memory is that of the process over its imports.

Run: ``uv run --extra breaching python benchmarks/attack_vs_breaching.py [--pairs 5] [--threads 1] [--device cpu]``
"""

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from attacked_uploads import NETS, STD, Bench, Net
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from priprune_attacks.breaching_bridge import Breaching
from priprune_attacks.sgi import SGI
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.messages import Observation

RATE = 0.3
# Breaching moves standardised pixels by steps of 0.1 and weighs their total variation by 0.2; ours moves pixels.
STEP, TV = 0.1 * STD, 0.2 / STD
REPORTED_EVERY = 25
INSTALL = "breaching is not installed, so ours run alone: uv run --extra breaching"


@dataclass
class Run:
    """One attack on some victims; ``run(iterations)`` gives victim-iterations a second and the guesses."""

    attack: Callable[[int], SGI | Breaching]
    seen: list[Observation]
    iterations: int

    def run(self, iterations: int | None = None) -> tuple[float, list[Tensor]]:
        marks: list[float] = []
        device = self.seen[0].broadcast.device

        def progress(share: float, loss: float | None = None) -> None:
            marks.append(_now(device))

        attack = self.attack(iterations or self.iterations + 1)
        guesses = attack.reconstruct(self.seen, torch.Generator().manual_seed(0), progress)
        # The last report comes after the end, so the last but one closes the intervals.
        done = REPORTED_EVERY * (len(marks) - 2) * (len(self.seen) if isinstance(attack, SGI) else 1)
        return done / (marks[-2] - marks[0]), [guess.images for guess in guesses]


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize()
        return time.perf_counter()
    return time.process_time()


def ours(iterations: int) -> SGI:
    """Return our attack with breaching's objective, prior and step, and nothing that breaching does not do."""
    plain = SGI(iterations=iterations, lr=STEP, starts=("uniform",), tv=(TV,), heat=1.0, max_gib=64.0)
    return replace(plain, relax=False, contrast=False)


def theirs(iterations: int) -> Breaching:
    """Return breaching's attack with the labels given: its recovery is not part of the comparison."""
    return Breaching(iterations=iterations, labels="true", mask="recovered")


def names_on(device: torch.device) -> list[str]:
    """Return the names of all attacks, breaching first where it is installed."""
    sizes = (1, 64, 1024) if device.type == "cuda" else (1, 16, 64)
    breaching = ["breaching"] if _has_breaching() else []
    return [*breaching, *(f"ours {size}" for size in sizes), "ours 16 masked"]


def run_of(bench: Bench, name: str) -> Run:
    """Return the attack of that name."""
    if name == "breaching":
        return Run(theirs, bench.observe(1), bench.net.breaching_iterations)
    size = int(name.split()[1])
    return Run(ours, bench.observe(size, RATE if name.endswith("masked") else 0.0), _iterations(bench.net, size))


def _iterations(net: Net, size: int) -> int:
    """Return the iterations to time, whole report intervals of about as much work as breaching's."""
    return max(1, 8 * net.breaching_iterations // (size * REPORTED_EVERY)) * REPORTED_EVERY


def _has_breaching() -> bool:
    try:
        import breaching  # noqa: F401
    except ImportError:
        return False
    return True


def flops_of(run: Run) -> float:
    """Return the floating-point operations of one victim-iteration, from the difference of two attacks.

    One victim is attacked: torch counts the operations of grouped convolutions once for every group.
    """
    counts = []
    for iterations in (1, 2):
        with FlopCounterMode(display=False) as counter:
            run.attack(iterations).reconstruct(
                run.seen[:1], torch.Generator().manual_seed(0), lambda share, loss=None: None
            )
        counts.append(counter.get_total_flops())
    return float(counts[1] - counts[0])


def peak_flops(device: torch.device) -> float:
    """Return the floating-point operations a second that a large product in this precision reaches."""
    side = 8192 if device.type == "cuda" else 1024
    square = torch.rand(side, side, device=device)
    best = float("inf")
    for _ in range(5):
        started = _now(device)
        square @ square
        best = min(best, _now(device) - started)
    return 2 * side**3 / best


class Worker:
    """One attack in a process of its own, which answers questions."""

    def __init__(self, net: str, name: str, options: argparse.Namespace) -> None:
        command = [sys.executable, __file__, "--worker", f"{net}/{name}", "--threads", str(options.threads)]
        command += ["--device", options.device, "--iterations", str(options.iterations)]
        command += ["--compared", str(options.compared)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def ask(self, question: str) -> float:
        """Return the answer to one of the questions that :func:`serve` knows."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(question, file=self._process.stdin, flush=True)
        for line in self._process.stdout:
            # Breaching prints; an answer is what says that it is one.
            if line.startswith("answer "):
                return float(line.split()[1])
        raise SystemExit(f"a benchmark process ended with code {self._process.wait()}")

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def serve(net: Net, name: str, options: argparse.Namespace, device: torch.device) -> None:
    """Answer questions about one attack until the input ends."""
    if name == "breaching":
        import breaching  # noqa: F401
    before = peak_rss_bytes()
    bench = Bench(net, device)
    run = run_of(bench, name)
    answers: dict[str, Callable[[], float]] = {
        "rate": lambda: run.run()[0],
        "peak": lambda: _peak_bytes(device, before),
        "flops": lambda: flops_of(run),
        "psnr": lambda: psnr_db(bench, run, name, options),
    }
    for line in sys.stdin:
        print(f"answer {answers[line.strip()]()}", flush=True)


def psnr_db(bench: Bench, run: Run, name: str, options: argparse.Namespace) -> float:
    """Return the PSNR of the compared victims after whole attacks on all of a run's victims."""
    seen = bench.observe(options.compared) if name == "breaching" else run.seen
    _, guesses = replace(run, seen=seen).run(options.iterations)
    return bench.psnr_db(guesses[: options.compared])


def _peak_bytes(device: torch.device, before: int) -> int:
    return torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_rss_bytes() - before


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", choices=NETS, default=list(NETS))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--iterations", type=int, default=300, help="of the attacks whose PSNR is compared")
    parser.add_argument("--compared", type=int, default=2, help="victims whose PSNR is compared")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    device = torch.device(options.device)
    if options.worker:
        net, name = options.worker.split("/")
        serve(NETS[net], name, options, device)
        return
    if not _has_breaching():
        print(INSTALL)
    for net in options.nets:
        report(net, options, device)


def report(net: str, options: argparse.Namespace, device: torch.device) -> None:
    """Time, measure and print one network."""
    workers = {name: Worker(net, name, options) for name in names_on(device)}
    rates: dict[str, list[float]] = {name: [] for name in workers}
    for pair in range(options.pairs + 1):
        for name, worker in workers.items():
            rate = worker.ask("rate")
            if pair:  # the first turn warms up
                rates[name].append(rate)
    unit = "s" if device.type == "cuda" else "CPU-s"
    print(f"{net}, {device}, {options.threads} threads, median of {options.pairs} turns")
    peak = peak_flops(device)
    for name, worker in workers.items():
        mebibytes = worker.ask("peak") / 2**20
        line = f"{name:14} {statistics.median(rates[name]):9.1f} victim-iterations a {unit}"
        if "breaching" in rates:
            ratios = [ours / theirs for ours, theirs in zip(rates[name], rates["breaching"], strict=True)]
            line += f", {statistics.median(ratios):5.1f}x breaching"
        if name != "breaching":
            share = statistics.median(rates[name]) * worker.ask("flops") / peak
            line += f", {share:4.0%} of a large product's rate"
        print(f"{line}; {mebibytes:5.0f} MiB peak; {worker.ask('psnr'):4.1f} dB after {options.iterations} iterations")
        worker.close()


if __name__ == "__main__":
    main()
