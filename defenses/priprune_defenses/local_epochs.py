"""Which local epoch a client's step belongs to, whatever the scenario counts in."""

from priprune_plugins import Client


def local_epoch(client: Client, step_idx: int) -> int:
    """Return the local epoch of a step, from 0: one pass over the client's images each."""
    return step_idx // -(-client.num_samples // client.facts.batch_size)


def ends_epoch(client: Client) -> bool:
    """Return whether the current step is the last of its epoch and another one follows."""
    following = client.step_idx + 1
    return following < client.num_steps and local_epoch(client, following) > local_epoch(client, client.step_idx)
