import pytest
import torch

from priprune_plugins.messages import LabelledSet
from priprune_plugins.privacy.identification import identified, lineup


def pictures(*values: float) -> LabelledSet:
    return LabelledSet(torch.tensor(values).view(-1, 1, 1, 1), torch.arange(len(values)))


def test_the_true_images_stand_once_where_the_places_say_among_decoys() -> None:
    truth, pool = pictures(0.5, 0.7), pictures(*(value / 100 for value in range(100)))
    drawn = lineup(truth, pool, 30, torch.Generator().manual_seed(0))
    assert len(drawn.candidates) == 29 + 2
    assert torch.equal(drawn.candidates.images[drawn.places], truth.images)
    # The pool holds both true values; neither may come in as a decoy.
    assert len(set(drawn.candidates.images.flatten().tolist())) == 31
    decoy = next(i for i in range(31) if i not in drawn.places.tolist())
    value = float(drawn.candidates.images[decoy])
    assert int(drawn.candidates.labels[decoy]) == round(100 * value)


def test_places_are_spread_over_the_whole_lineup() -> None:
    pool = pictures(*(value / 1000 for value in range(100)))
    places = [int(lineup(pictures(0.5), pool, 10, torch.Generator().manual_seed(s)).places) for s in range(200)]
    assert set(places) == set(range(10))


def test_a_small_pool_gives_fewer_candidates() -> None:
    drawn = lineup(pictures(0.5), pictures(0.1, 0.2, 0.5), 300, torch.Generator())
    assert len(drawn.candidates) == 3
    assert identified(torch.arange(3.0), drawn.places).num_candidates == 3


@pytest.mark.parametrize(
    ("scores", "rank"),
    [
        ([9.0, 1.0, 2.0, 3.0], 1.0),
        ([2.0, 1.0, 2.0, 3.0], 2.5),  # one ahead, one level: places 2 and 3 shared
        ([0.0, 0.0, 0.0, 0.0], 2.5),
        ([-torch.inf, 1.0, 2.0, 3.0], 4.0),
        ([torch.nan, 1.0, 2.0, 3.0], 2.5),
    ],
)
def test_a_rank_counts_decoys_ahead_and_shares_ties(scores: list[float], rank: float) -> None:
    assert identified(torch.tensor(scores), torch.tensor([0])).rank == rank


def test_scores_that_are_not_numbers_are_a_failure_at_chance() -> None:
    got = identified(torch.tensor([1.0, torch.nan, 0.0]), torch.tensor([0]))
    assert (got.rank, got.failed) == (2.0, "a score is NaN")


def test_the_other_true_images_of_a_batch_do_not_count() -> None:
    # Two true images hold the two best scores: both are first among themselves and the three decoys.
    got = identified(torch.tensor([5.0, 1.0, 4.0, 2.0, 3.0]), torch.tensor([0, 2]))
    assert got.ranks == (1.0, 1.0)
    assert got.num_candidates == 4
    assert identified(torch.tensor([5.0, 1.0, 0.0, 2.0, 3.0]), torch.tensor([0, 2])).rank == 2.5  # of 1 and 4
