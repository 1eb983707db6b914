"""``priprune join``: a process in which some of a server's clients live."""

import argparse

from priprune_plugins.cli.network_arguments import Watched, read_shared


def join(arguments: argparse.Namespace, watched: Watched) -> None:
    """``priprune join``.

    Args:
        arguments: Of the command line.
        watched: Gives the watcher of a command, or None where it is to be quiet.
    """
    from priprune_plugins.network.asked import check_resolves, clients_asked, server_asked

    scenario, section, token = read_shared(arguments)
    host, port = server_asked(arguments.connect) if arguments.connect else (section.host, section.port)
    check_resolves(host, "--connect" if arguments.connect else "network.host")
    clients = None if arguments.clients is None else clients_asked(arguments.clients)
    from priprune_plugins.network.join import Joining
    from priprune_plugins.network.join import join as take_part

    with watched(arguments.quiet) as watcher:
        visits = take_part(scenario, Joining(host, port, token, clients, arguments.states), watcher)
    print(f"done: {visits} visits")
