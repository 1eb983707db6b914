"""The arguments of ``priprune serve`` and ``priprune join``."""

import argparse
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

Watched = Callable[[bool], AbstractContextManager[Any]]

SERVE_HELP = "run a scenario whose clients live in other processes"
SERVE_TEXT = """\
Run a scenario whose clients live in processes of priprune join, started by the same scenario.

The folder holds what priprune run leaves, bit for bit. Who joins must hold the token, which stands in
a file or in the environment variable PRIPRUNE_TOKEN. Nothing is encrypted: docs/network.md.
"""
SERVE_EXAMPLES = """\
example, on one machine:
  export PRIPRUNE_TOKEN=$(python3 -c 'import secrets; print(secrets.token_hex(32))')
  priprune serve configs/quickstart.yaml &
  priprune join configs/quickstart.yaml --states runs/clients-1 &
  priprune join configs/quickstart.yaml --states runs/clients-2
"""
JOIN_HELP = "be some of the clients of a server"
JOIN_TEXT = """\
Be some of the clients of priprune serve, until it has done.

What a client remembers stays in this process. Its images stay too, unless the scenario attacks or
audits its uploads: the server then measures against them.
"""
JOIN_EXAMPLES = """\
examples:
  priprune join configs/quickstart.yaml
  priprune join configs/quickstart.yaml --clients 0-29 --connect 127.0.0.1:7654
"""
_SET = "replace or add a value of the scenario, PATH=YAML; the figures' keys must be those of the server"
_STATES = "write down there what clients remember, so that the run can be resumed; a folder of this process alone"
_TOKEN = "a file with the token that all processes share (default: the environment variable PRIPRUNE_TOKEN)"


def add_serve_arguments(parser: Any) -> None:
    """Add the arguments of ``priprune serve``."""
    _add_shared(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder to make (default: runs/<name>)")
    parser.add_argument(
        "--resume", action="store_true", help="go on with the run folder where its last checkpoint left it"
    )
    parser.add_argument(
        "--any-interface", action="store_true", help="allow a network.host that is every interface, 0.0.0.0 or ::"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress, no closing table, no word on who joins")


def add_join_arguments(parser: Any) -> None:
    """Add the arguments of ``priprune join``."""
    _add_shared(parser)
    parser.add_argument(
        "--connect", metavar="HOST:PORT", help="the server (default: network.host and port of the scenario)"
    )
    parser.add_argument(
        "--clients", metavar="FIRST-LAST", help="these clients (default: those that the server deals, in join order)"
    )
    parser.add_argument("--states", type=Path, metavar="DIR", help=_STATES)
    parser.add_argument("--quiet", action="store_true", help="no word on what happens")


def read_shared(arguments: argparse.Namespace) -> tuple[Any, Any, bytes]:
    """Return the scenario, its network section and the token.

    Nothing here imports torch, which takes seconds: a typing error is answered at once.
    """
    from priprune_plugins.network.token import read_token
    from priprune_plugins.scenario import read_scenario
    from priprune_plugins.scenario.sections import NetworkSection

    token = read_token(arguments.token_file)
    scenario = read_scenario(arguments.scenario, arguments.set)
    return scenario, scenario.network or NetworkSection(), token


def _add_shared(parser: Any) -> None:
    parser.add_argument("scenario", type=Path, help="a YAML file, the same for all processes")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=YAML", help=_SET)
    parser.add_argument("--token-file", type=Path, metavar="FILE", help=_TOKEN)
