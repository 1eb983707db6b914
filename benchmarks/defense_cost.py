"""What each defence costs a client: time of a defended step against an undefended one, peak memory, and its state.

Conv-2 with a random base mask of rate 0.3, batch 20, one local step. A step is all that the simulation does for a
client in a round: broadcast in, hooks, forward, backward, upload out. Each defence runs in a process of its own,
defended and undefended steps of the same client in turn, so that both meet the same machine; the first participations,
where PriPrune has no weights of its own yet, are not counted. The ratio is the median over pairs. ``hooks`` is the
defence's own part, in undefended steps; the rest is the host's: it keeps the start and counts what was withheld.

PriPrune's floor is what it would cost if all arithmetic were free: the vectors that must be read or written, at the
speed of copying one in the same process.

Run: ``uv run python benchmarks/defense_cost.py [--pairs 20] [--threads 1] [--device cpu] [--rate 0.3] [--steps 1]``
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from pruner_cost import Clock, federation

from priprune_defenses.largest import Largest
from priprune_defenses.mix import Mix
from priprune_defenses.priprune import PriPrune
from priprune_defenses.random_withhold import RandomWithhold
from priprune_defenses.release import Release
from priprune_plugins.generators import generator
from priprune_plugins.hookspecs import HookSpecs
from priprune_plugins.masks import keep_highest
from priprune_plugins.memory import peak_rss_bytes
from priprune_plugins.plugins import PluginHost, Registered
from priprune_plugins.simulation.client_round import Visit
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.states import StateStore

CLIENTS = 193
WARM_UP = 3
DEFENSES: dict[str, tuple[type, dict[str, Any]]] = {
    "largest": (Largest, {}),
    "largest, keep_local": (Largest, {"keep_local": True}),
    "random_withhold": (RandomWithhold, {}),
    "mix": (Mix, {}),
    "priprune, adaptive": (PriPrune, {}),
    "priprune, paper": (PriPrune, {"mode": "paper"}),
    "release": (Release, {}),
    "release, no dither": (Release, {"dither": 0.0, "hide": False}),
}


def clocked(defense: type, clock: Clock) -> type:
    """Return the defence's class with every hook of a client on the clock."""
    hooks = [name for name in vars(HookSpecs) if name in _CLIENT_HOOKS and hasattr(defense, name)]
    return type(defense.__name__, (defense,), {name: clock.timed(getattr(defense, name)) for name in hooks})


# In vectors of D float32, a mask a quarter: compose (own, mask, weights twice, start), step (gradient and mask twice,
# alpha twice, own, broadcast), upload (alpha, weights, own, mask), the host's count (start, weights, three masks).
PRIPRUNE_MOVES = 4.25 + 6.5 + 3.25 + 2.75
_CLIENT_HOOKS = ("on_local_train_start", "on_local_step", "on_local_train_end", "before_upload")


def visits(
    federated: Federation, host: PluginHost, states: StateStore, mask: torch.Tensor | None, steps: int
) -> Callable[[int], Visit]:
    """Return what gives the visit of client 0 in a round."""
    visit = replace(federated.visit(0), host=host, states=states, mask=mask, steps=steps)
    return lambda round_idx: replace(visit, round_idx=round_idx)


def base_mask(federated: Federation, rate: float) -> torch.Tensor | None:
    """Return a random base mask of the model, or None at rate 0."""
    layout = federated.setting.facts.layout
    scores = torch.rand(layout.num_parameters, generator=generator(0, "mask")).to(layout.device)
    return keep_highest(scores, layout.prunable, rate) if rate else None


def measured(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Return the ratio, the hooks' share, milliseconds and bytes of one defence, in this process."""
    device = torch.device(options.device)
    clock, whole, before = Clock(device), Clock(device), peak_rss_bytes()
    defense, keywords = DEFENSES.get(name, (None, {}))
    made = (
        ()
        if defense is None
        else (Registered("defenses", name, f"defenses[0]:{name}", clocked(defense, clock)(**keywords)),)
    )
    federated = federation("conv2", (), device)
    federated.start_round(0)
    mask, hosts = base_mask(federated, options.rate), (PluginHost(), PluginHost(made))
    stores = [StateStore(host.key) for host in hosts]
    bare, defended = (visits(federated, h, s, mask, options.steps) for h, s in zip(hosts, stores, strict=True))
    pairs, hooks = [], []
    for round_idx in range(WARM_UP + options.pairs):
        whole.timed(federated.runner.run)(bare(round_idx))
        undefended = whole.taken()
        whole.timed(federated.runner.run)(defended(round_idx))
        pairs.append((whole.taken(), undefended))
        hooks.append(clock.taken())
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else peak_rss_bytes() - before
    pairs, hooks = pairs[WARM_UP:], hooks[WARM_UP:]
    plain = statistics.median(undefended for _, undefended in pairs)
    return {
        "ratio": statistics.median(with_it / without for with_it, without in pairs),
        "best": min(with_it for with_it, _ in pairs) / min(without for _, without in pairs),
        "plain": plain,
        "hooks": statistics.median(hooks) / plain,
        "peak": float(peak),
        "floor": floor_ratio(plain, federated.setting.facts.layout.num_parameters, device),
        "state": float(state_bytes(stores[1].of(made[0].plugin, 0)) if made else 0),
    }


def floor_ratio(plain: float, size: int, device: torch.device) -> float:
    """Return a step's time with PriPrune's memory traffic and no arithmetic, over ``plain`` seconds without."""
    source, target, clock, copies = *torch.zeros(2, size, device=device), Clock(device), []
    for _ in range(20):
        clock.timed(target.copy_)(source)
        copies.append(clock.taken())
    return 1 + PRIPRUNE_MOVES * statistics.median(copies) / 2 / plain


def state_bytes(state: Any) -> int:
    """Return the bytes of a state's tensors."""
    return sum(value.numel() * value.element_size() for value in state.values() if isinstance(value, torch.Tensor))


def in_own_process(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Return what :func:`measured` gives in a new process."""
    numbers = [f"--{key}={value}" for key, value in vars(options).items() if key != "one"]
    done = subprocess.run(
        [sys.executable, __file__, "--one", name, *numbers],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rate", type=float, default=0.3, help="rate of the base mask; 0 = none")
    parser.add_argument("--steps", type=int, default=1, help="local steps")
    parser.add_argument("--one", metavar="DEFENSE", help="measure one in this process")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.one:
        print(json.dumps(measured(options.one, options)))
        return
    unit = "ms" if options.device.startswith("cuda") else "CPU-ms"
    bare = in_own_process("none", options)
    print(
        f"none: {1e3 * bare['plain']:.1f} {unit} a step, against itself {bare['ratio']:.2f}, "
        f"peak {_mib(bare['peak'])}; PriPrune's floor {bare['floor']:.2f}",
        flush=True,
    )
    for name in DEFENSES:
        figures = in_own_process(name, options)
        print(
            f"  {name:20} {figures['ratio']:5.2f} of an undefended step ({figures['best']:.2f} best against best), "
            f"hooks {figures['hooks']:.2f}; peak {figures['peak'] / bare['peak']:.2f} of the run without; "
            f"state {_mib(figures['state'])} a client, {CLIENTS * figures['state'] / 2**30:.1f} GiB for {CLIENTS}",
            flush=True,
        )


def _mib(size: float) -> str:
    return f"{size / 2**20:.0f} MiB"


if __name__ == "__main__":
    main()
