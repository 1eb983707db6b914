"""``priprune serve``: the server of a run whose clients join from other processes."""

import argparse
import sys
from typing import Any

from priprune_plugins.cli.network_arguments import Watched, read_shared


def serve(arguments: argparse.Namespace, watched: Watched) -> None:
    """``priprune serve``.

    Args:
        arguments: Of the command line.
        watched: Gives the watcher of a command, or None where it is to be quiet.
    """
    scenario, section, token = read_shared(arguments)
    listener = _listener(section, arguments.any_interface)
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
