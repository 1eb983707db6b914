"""The arguments of ``priprune bound``; importing this module imports no torch."""

from pathlib import Path
from typing import Any

HELP = "evaluate the papers' leakage bounds, which rank nothing"
TEXT = """\
Evaluate Theorem 1, Corollary 1 and Equation 23 of the PriPrune paper, in bits,
as printed and with their slips mended, and Theorem 4.2 of "Privacy-preserving
Learning via Deep Net Pruning".

From a run: the gradients of single images at each captured round's weights give
Delta and d*; the figures go to RUN_DIR/bound.json and into its report.
From options: give all of --rate, --batch-size, --d-star and --delta.

None of these figures ranks methods; docs/bounds.md says what is wrong with them.
"""
EXAMPLES = """\
examples:
  priprune bound runs/quickstart
  priprune bound runs/quickstart --images audit --layer net.fc1.weight
  priprune bound --rate 0.3 --batch-size 20 --d-star 99 --delta 103.1 --rounds 20000
  priprune bound --rate 0.9 --width 2048 --inputs 3136 --sigma-a 0.025
"""


def add_bound_arguments(command: Any) -> None:
    """Add the arguments to a subparser."""
    command.add_argument("run", nargs="?", type=Path, metavar="RUN_DIR", help="a run folder")
    command.add_argument("--json", action="store_true", help="print JSON")
    _of_options(command.add_argument_group("from options"))
    _of_run(command.add_argument_group("from a run"))
    _of_layer(command.add_argument_group("Theorem 4.2 of the second paper"))


def _of_options(group: Any) -> None:
    group.add_argument("--rate", type=float, metavar="P", help="base pruning rate, in [0, 1)")
    group.add_argument("--batch-size", type=int, metavar="B", help="images whose mean gradient an upload holds")
    group.add_argument("--d-star", type=int, metavar="N", help="rank of the covariance of one image's gradient")
    group.add_argument("--delta", type=float, metavar="BITS", help="log2 |det(Sigma^(-1/2))| over those dimensions")
    group.add_argument("--rounds", type=int, metavar="T", help="rounds of Corollary 1")
    group.add_argument("--never-pruned", type=int, metavar="N", help="size of P-bar in Equation 23")
    group.add_argument("--remaining", type=int, metavar="N", help="size of A in Equation 23: prunable ones kept")
    group.add_argument("--parameters", type=int, metavar="D", help="all parameters, d in Equation 23")


def _of_run(group: Any) -> None:
    group.add_argument(
        "--images",
        choices=("test", "audit"),
        help="take gradients of global test images (default), or of the true images behind the attacked uploads",
    )
    group.add_argument(
        "--samples", type=int, metavar="N", help="images at most (default: 100); the figures grow with it"
    )
    group.add_argument(
        "--tolerance", type=float, help="eigenvalues at most this share of the largest count as 0 (1e-10)"
    )


def _of_layer(group: Any) -> None:
    group.add_argument("--layer", metavar="NAME", help="of a run: measure it on this Linear layer, net.fc1.weight say")
    group.add_argument("--width", type=int, metavar="M", help="from options: outputs of a Gaussian layer")
    group.add_argument("--inputs", type=int, metavar="D", help="its inputs")
    group.add_argument("--sigma-a", type=float, metavar="S", help="standard deviation of its weights")
    group.add_argument("--noise-scale", type=float, metavar="S", help="scale of the Laplace noise (default: 1)")
    group.add_argument("--constant", type=float, metavar="C", help="of sigma_A = C eps_dp delta_dp / m^2 (default: 1)")
    group.add_argument("--delta-dp", type=float, metavar="D", help="delta of the differential privacy (default: 1e-5)")
    group.add_argument("--epsilon-ap", type=float, metavar="E", help="distance that is counted (default: 0.1)")
    group.add_argument("--delta-ap", type=float, metavar="D", help="share that may be further away (default: 0.05)")
    group.add_argument("--seed", type=int, default=0, help="of the layer, the inputs and the noise, from options")
