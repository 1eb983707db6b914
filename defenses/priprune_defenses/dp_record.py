"""What a run's record says of ``dp``: two epsilons, each with what it assumes, or why there is none."""

from collections.abc import Sequence
from typing import Any

from priprune_defenses.accounting import epsilon
from priprune_plugins import Upload
from priprune_plugins.messages import State

_SERVER = "against the server, which knows who takes part: q = 1, over the uploads of the client that sent most"
_CENTRAL = "against who sees the model only: each round draws each client independently (Poisson), q = {:.4g}"


def count(state: State, upload: Upload) -> None:
    """Add the noised tensors of one upload to the count of its sender."""
    vectors = [extra for extra in upload.extras.values() if extra.shape == upload.weights.shape]
    mechanisms = 1 + sum(vector.is_floating_point() for vector in vectors)
    for client_id in upload.client_ids:
        name = f"uploads.{client_id}"
        state[name] = state.get(name, 0) + mechanisms
    state["most"] = max(state.get("most", 0), *(state[f"uploads.{client_id}"] for client_id in upload.client_ids))
    state["a_round"] = max(state.get("a_round", 0), mechanisms)


def record_entry(
    state: State, noise: float, delta: float, rounds: int, sampled: float | None, against: Sequence[str]
) -> dict[str, Any]:
    """Return the figures of the run so far.

    Args:
        state: The server's.
        noise: Deviation over the clipping norm.
        delta: In (0, 1).
        rounds: Rounds so far.
        sampled: Probability of a client to be drawn, or None where uploads can be told apart.
        against: Why nothing holds; empty where it does.
    """
    void = "; ".join(against) or None
    server = None if void else epsilon(noise, delta, state.get("most", 0))
    central = None if void or sampled is None else epsilon(noise, delta, rounds * state.get("a_round", 0), sampled)
    return {
        "delta": delta,
        "uploads": state.get("most", 0),
        "epsilon_server": server,
        "epsilon_server_assumes": void or _SERVER,
        "epsilon_central": central,
        "epsilon_central_assumes": void or ("needs secagg" if sampled is None else _CENTRAL.format(sampled)),
    }
