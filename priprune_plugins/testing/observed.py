"""Real uploads as an attack sees them."""

from dataclasses import replace

from priprune_plugins.generators import generator
from priprune_plugins.messages import LabelledSet, Observation
from priprune_plugins.plugins import Registered
from priprune_plugins.privacy.identification import lineup
from priprune_plugins.seen_upload import seen_by_server
from priprune_plugins.testing.federation import SEED, Played, play, small_data
from priprune_plugins.testing.stand_ins import OneMask, Withhold

CANDIDATES = 10


def observations() -> list[Observation]:
    """Return two observations of one local step on digits, 14x14.

    The first is of one image, under a mask and a defence of rate 0.3 each; the second of two images, with neither.
    """
    hidden, plain = _played()
    return [_observation(hidden, batch_size=1), _observation(plain, batch_size=2)]


def some_candidates() -> list[LabelledSet]:
    """Return, for each of :func:`observations`, its true images among public decoys: ten pictures to choose from."""
    truths = [LabelledSet(*played.sent[0].truth) for played in _played()]
    pool = small_data().test
    return [lineup(truth, pool, CANDIDATES, generator(SEED, "candidates", len(truth))).candidates for truth in truths]


def _played() -> tuple[Played, Played]:
    mask = Registered("pruners", "one mask", "pruner:mask", OneMask())
    defense = Registered("defenses", "withhold", "defenses[0]:withhold", Withhold())
    hidden = play([mask, defense], rounds=1, batch_size=1, steps=1)
    return hidden, play([], rounds=1, batch_size=2, steps=1)


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
