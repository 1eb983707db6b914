"""``priprune serve``: the server of a run whose clients join from other processes."""

import argparse
import sys
from typing import Any

from priprune_plugins.cli.network_arguments import Watched


def serve(arguments: argparse.Namespace, watched: Watched) -> None:
    """``priprune serve``.

    Args:
        arguments: Of the command line.
        watched: Gives the watcher of a command, or None where it is to be quiet.
    """
    from priprune_plugins.network.token import read_token
    from priprune_plugins.scenario import read_scenario
    from priprune_plugins.scenario.sections import NetworkSection

    # Before torch, which takes seconds to import: a typing error is answered at once.
    scenario = read_scenario(arguments.scenario, arguments.set)
    token = read_token(arguments.token_file)
    listener = _listener(scenario.network or NetworkSection(), arguments.any_interface)
    from priprune_plugins.network.serve import serve as run_served

    with watched(arguments.quiet) as watcher:
        folder = run_served(scenario, listener, token, arguments.out, watcher, resume=arguments.resume)
    print(folder / "report.html")


def _listener(section: Any, any_interface: bool) -> Any:
    from priprune_plugins.errors import ScenarioError
    from priprune_plugins.network.listener import Listener, reach

    reached = reach(section.host)
    if reached == "everywhere" and not any_interface:
        raise ScenarioError(
            f"network.host {section.host!r} is every interface of this machine: give the address of one, or "
            "--any-interface"
        )
    listener = Listener(section.host, section.port)
    if reached != "machine":
        who = "every network of this machine" if reached == "everywhere" else "other machines"
        host, port = listener.address
        warning = f"{who} can reach {host}:{port}, and nothing is encrypted: use a VPN or an SSH tunnel"
        print(f"priprune: warning: {warning}", file=sys.stderr)
    return listener
