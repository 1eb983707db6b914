"""Real uploads as an attack sees them."""

from dataclasses import replace

from priprune_plugins.messages import Observation
from priprune_plugins.plugins import Registered, seen_by_server
from priprune_plugins.testing.federation import Played, play
from priprune_plugins.testing.stand_ins import OneMask, Withhold


def observations() -> list[Observation]:
    """Return two observations of one local step on digits, 14x14.

    The first is of one image, under a mask and a defence of rate 0.3 each; the second of two images, with neither.
    """
    mask = Registered("pruners", "one mask", "pruner:mask", OneMask())
    defense = Registered("defenses", "withhold", "defenses[0]:withhold", Withhold())
    hidden = _observation(play([mask, defense], rounds=1, batch_size=1, steps=1), batch_size=1)
    return [hidden, _observation(play([], rounds=1, batch_size=2, steps=1), batch_size=2)]


def _observation(played: Played, batch_size: int) -> Observation:
    sent = played.sent[0]
    seen = seen_by_server(sent.upload)
    # What the server held when it received the upload is the broadcast: dense weights are this suite's not to know.
    return Observation(
        broadcast=sent.received.clone(),
        server_weights=sent.received.clone(),
        mask=played.masks[0] if played.masks else None,
        upload=seen.weights.clone(),
        extras=seen.extras,
        buffers=seen.buffers,
        broadcast_buffers={},
        num_samples=seen.num_samples,
        round_idx=seen.round_idx,
        client_ids=seen.client_ids,
        facts=replace(played.server.facts, batch_size=batch_size, local_steps=1),
    )
