"""What ``release`` warns of: once a run, by the server, whatever the number of clients."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from priprune_defenses.release import Release
from priprune_defenses.release_record import MIXED
from priprune_plugins.messages import Run, Upload

Rounds = Callable[..., list[str]]


@pytest.fixture
def rounds(caplog: pytest.LogCaptureFixture) -> Rounds:
    """Return what a server of batches of 20 is warned of over rounds of clients, or groups, of so many images."""

    def play_rounds(plugin: Release, *images: dict[int | tuple[int, ...], int]) -> list[str]:
        state: dict[str, object] = {}
        server = SimpleNamespace(facts=SimpleNamespace(batch_size=20), state=lambda plugin: state)
        for round_idx, of_senders in enumerate(images):
            for sender, count in of_senders.items():
                client_ids = sender if isinstance(sender, tuple) else (sender,)
                extras = {MIXED: torch.tensor([6.0, 0.0, 0.0, 0.0])}
                plugin.on_server_receive(server, Upload(client_ids, round_idx, count, torch.ones(6), extras=extras))
            plugin.on_round_end(server, {})
        return [record.getMessage() for record in caplog.records]

    return play_rounds


def test_clients_of_few_images_are_one_line_with_their_number_and_the_worst(rounds) -> None:
    (line,) = rounds(Release(gap=3), {1: 100, 2: 500}, {3: 99, 4: 40, 5: 100}, {6: 10})
    assert line.startswith(
        "release: 2 of this round's 3 clients have fewer images than 100, batches of 20 over 5 participations: the "
        "same images meet again; the fewest, 40, has client 4;"
    )


def test_enough_images_are_no_warning(rounds) -> None:
    assert rounds(Release(gap=3), {3: 100}) == []


def test_during_the_warm_up_the_gap_then_in_force_is_spoken_of(rounds) -> None:
    (line,) = rounds(Release(gap=3, warmup=30), {1: 59, 2: 60, 3: 99, 4: 100})
    assert line.startswith(
        "release: 1 of this round's 4 clients have fewer images than 60, batches of 20 over 3 participations, and 3 "
        "fewer than the 100 that the gap needs after the warm-up:"
    )


def test_before_the_warm_up_only_what_comes_after_it_is_spoken_of(rounds) -> None:
    (line,) = rounds(Release(gap=3, warmup=30), {1: 100, 2: 100}, {1: 60, 2: 99, 3: 100})
    assert line.startswith(
        "release: 2 of this round's 3 clients have fewer images than the 100 that the gap needs after the warm-up, "
        "batches of 20 over 5 participations: the same images will meet again; the fewest, 60, has client 1;"
    )


def test_of_a_group_the_mean_is_spoken_of_and_no_client(rounds) -> None:
    (line,) = rounds(Release(gap=3), {(1, 2): 200, (3, 5, 9): 120, (11, 12): 198})
    assert line.startswith(
        "release: 2 of this round's 3 groups have on average over their clients fewer images than 100, batches of 20 "
        "over 5 participations: the same images meet again; the fewest, 40, has the group of 3 clients from 3 to 9;"
    )


@pytest.mark.parametrize(("gap", "said"), [(0, 1), (1, 1), (2, 0)])
def test_a_warm_up_that_does_nothing_is_said_at_the_start(gap: int, said: int, tmp_path, caplog) -> None:
    Release(gap=gap, warmup=30).on_run_start(Run(tmp_path, {}, facts=None))
    assert len(caplog.records) == said
    assert not said or f"warmup: 30 does nothing with gap: {gap}" in caplog.text


def test_a_setup_round_is_sent_whole_with_one_warning(participate, caplog: pytest.LogCaptureFixture) -> None:
    state: dict[str, object] = {}
    server = SimpleNamespace(state=lambda plugin: state)
    for client_id in (0, 1):
        client = participate.client(torch.ones(6), client_id=client_id, round_idx=-1)
        upload = Upload((client_id,), -1, 20, torch.ones(6))
        assert Release().before_upload(client, upload) is None
        Release().on_server_receive(server, upload)
    assert [record.getMessage() for record in caplog.records] == [
        "release: the setup round's uploads are sent whole: nothing is held yet"
    ]
