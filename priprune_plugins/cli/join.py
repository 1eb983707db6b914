"""``priprune join``: a process in which some of a server's clients live."""

import argparse

from priprune_plugins.cli.network_arguments import Watched


def join(arguments: argparse.Namespace, watched: Watched) -> None:
    """``priprune join``.

    Args:
        arguments: Of the command line.
        watched: Gives the watcher of a command, or None where it is to be quiet.
    """
    from priprune_plugins.network.places import clients_asked
    from priprune_plugins.network.token import read_token
    from priprune_plugins.scenario import read_scenario
    from priprune_plugins.scenario.sections import NetworkSection

    # Before torch, which takes seconds to import: a typing error is answered at once.
    scenario = read_scenario(arguments.scenario, arguments.set)
    token = read_token(arguments.token_file)
    section = scenario.network or NetworkSection()
    host, port = _server(arguments.connect) if arguments.connect else (section.host, section.port)
    clients = None if arguments.clients is None else clients_asked(arguments.clients)
    from priprune_plugins.network.join import Joining
    from priprune_plugins.network.join import join as take_part

    with watched(arguments.quiet) as watcher:
        visits = take_part(scenario, Joining(host, port, token, clients, arguments.states), watcher)
    print(f"done: {visits} visits")


def _server(text: str) -> tuple[str, int]:
    from priprune_plugins.errors import ScenarioError

    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise ScenarioError(f"--connect must be HOST:PORT, got {text[:60]!r}")
    return host.strip("[]"), int(port)
