"""Partitions: FedLab's own draws, every image once, nothing global touched, always an end."""

import logging
import random
import subprocess
import sys

import numpy as np
import pytest
import torch
from fedlab.utils.dataset import functional as fedlab
from hypothesis import given, settings
from hypothesis import strategies as st

from priprune_plugins import ScenarioError
from priprune_plugins.data.digits import Digits
from priprune_plugins.data.partitions import partition
from priprune_plugins.generators import seeded_globals
from priprune_plugins.scenario.sections import DataSection

LABELS = torch.randint(10, (1_500,), generator=torch.Generator().manual_seed(0))


def _sizes(parts):
    return [len(part) for part in parts]


def test_dirichlet_equals_fedlab_s_own_call():
    section = DataSection(clients=20, partition="dirichlet", alpha=0.5, min_samples=3)
    with seeded_globals(4, "partition"):
        expected = fedlab.hetero_dir_partition(LABELS.numpy(), 20, 10, 0.5, min_require_size=3)
    ours = partition(LABELS, 10, section, 4)
    assert [part.tolist() for part in ours] == [expected[client].tolist() for client in range(20)]


def test_iid_deals_all_images_as_evenly_as_can_be():
    parts = partition(LABELS, 10, DataSection(clients=7, partition="iid"), 0)
    assert _sizes(parts) == [215, 215, 214, 214, 214, 214, 214]
    assert torch.cat(parts).sort().values.tolist() == list(range(1_500))


def test_shards_give_each_client_few_labels_and_leave_out_only_the_remainder():
    parts = partition(LABELS, 10, DataSection(clients=16, partition="shards", shards=2), 0)
    assert _sizes(parts) == [2 * (1_500 // 32)] * 16
    assert len(torch.cat(parts).unique()) == 1_500 - 1_500 % 32
    # Two runs of a sorted list, each shorter than any label's: at most two labels a run.
    assert all(len(LABELS[part].unique()) <= 4 for part in parts)
    counts = torch.bincount(LABELS) - torch.bincount(LABELS[torch.cat(parts)])
    assert counts.max() < 28 == counts.sum()


def test_shards_equal_fedlab_s_where_nothing_is_left_out():
    labels = torch.arange(60).flip(0)
    with seeded_globals(1, "partition"):
        expected = fedlab.shards_partition(labels.numpy(), 5, 15)
    ours = partition(labels, 60, DataSection(clients=5, partition="shards", shards=3), 1)
    assert [part.tolist() for part in ours] == [expected[client].tolist() for client in range(5)]


@pytest.mark.parametrize("seed", range(5))
def test_sixty_clients_of_the_digits_always_get_their_images(seed):
    labels = Digits().load().train_labels
    parts = partition(labels, 10, DataSection(clients=60, partition="dirichlet", alpha=1.0), seed)
    assert torch.cat(parts).sort().values.tolist() == list(range(1_500))
    assert min(_sizes(parts)) >= 2


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=80),
    clients=st.integers(1, 12),
    alpha=st.sampled_from([1e-3, 0.1, 1.0, 100.0]),
    kind=st.sampled_from(["iid", "dirichlet", "shards"]),
    least=st.integers(1, 3),
)
def test_partition_ends_with_disjoint_parts_or_one_clear_error(labels, clients, alpha, kind, least):
    section = DataSection(clients=clients, partition=kind, alpha=alpha, min_samples=least)
    try:
        parts = partition(torch.tensor(labels), 5, section, 0)
    except ScenarioError as error:
        assert str(error).startswith("data.")
        return
    dealt = torch.cat(parts)
    left_out = len(labels) % (clients * section.shards) if kind == "shards" else 0
    assert len(parts) == clients
    assert min(_sizes(parts)) >= least
    assert len(dealt.unique()) == len(dealt) == len(labels) - left_out


def test_draw_that_is_too_rare_ends_in_an_error_that_says_what_to_change():
    section = DataSection(clients=100, partition="dirichlet", alpha=0.01, min_samples=10)
    with pytest.raises(
        ScenarioError, match=r"data\.alpha 0\.01: none of 500 draws of 1500 .* raise alpha, or lower clients"
    ):
        partition(LABELS, 10, section, 0)


@pytest.mark.parametrize("clients", [None, 751])
def test_number_of_clients_must_be_given_and_possible(clients):
    with pytest.raises(ScenarioError, match=rf"data\.clients must be 1 to 750 for partition iid .* got {clients}"):
        partition(LABELS, 10, DataSection(clients=clients, partition="iid"), 0)


def test_too_many_shards_are_refused():
    section = DataSection(clients=500, partition="shards", shards=4)
    with pytest.raises(ScenarioError, match=r"data\.shards 4 gives each of 500 clients 0 of 1500"):
        partition(LABELS, 10, section, 0)


@pytest.mark.parametrize("kind", ["iid", "dirichlet", "shards"])
def test_global_generators_are_untouched_and_the_seed_decides(kind):
    section = DataSection(clients=10, partition=kind)
    before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
    first = partition(LABELS, 10, section, 0)
    assert (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    np.random.seed(9)
    assert all(map(torch.equal, first, partition(LABELS, 10, section, 0)))
    assert not all(map(torch.equal, first, partition(LABELS, 10, section, 1)))


@pytest.mark.slow
def test_importing_fedlab_does_not_reconfigure_logging():
    program = (
        "import logging, torch\n"
        "from priprune_plugins.data.partitions import partition\n"
        "from priprune_plugins.scenario.sections import DataSection\n"
        "partition(torch.zeros(9, dtype=torch.long), 1, DataSection(clients=3, partition='iid'), 0)\n"
        "import sys; assert 'fedlab.utils.logger' in sys.modules\n"
        f"assert logging.getLogger().level == {logging.WARNING} and not logging.getLogger().handlers\n"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)
