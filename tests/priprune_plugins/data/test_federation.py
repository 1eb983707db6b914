"""The federation: who holds what, on images that carry their own number."""

from dataclasses import replace

import pytest
import torch

from priprune_plugins import PluginError, ScenarioError
from priprune_plugins.data.digits import Digits
from priprune_plugins.data.federation import federate
from priprune_plugins.data.femnist import Femnist
from priprune_plugins.data.images import ImageData
from priprune_plugins.data.local_tests import apportion, draw_like
from priprune_plugins.scenario.sections import DataSection


def _numbered(first, count):
    return (torch.arange(first, first + count) / 1_000).reshape(-1, 1, 1, 1)


def _data(train_writers=(1, 0, 1, 2, 0, 1), test_writers=(1, 0, 1)):
    """Image number i has the value i / 1000; training images from 0, test images from 500."""
    num_train, num_test = len(train_writers), len(test_writers)
    return ImageData(
        _numbered(0, num_train), torch.arange(num_train) % 3, _numbered(500, num_test), torch.arange(num_test) % 3,
        num_classes=3, mean=(0.5,), std=(0.5,), writers=("a", "b", "c"),
        train_writers=torch.tensor(train_writers), test_writers=torch.tensor(test_writers),
    )  # fmt: skip


def _numbers(images):
    return (images.flatten() * 1_000).round().long().tolist()


def test_natural_clients_hold_their_own_training_and_test_images():
    images = federate(_data(), DataSection(min_samples=1), seed=0)
    assert images.num_clients == 3
    assert [_numbers(images.client(client, "train")[0]) for client in range(3)] == [[1, 4], [0, 2, 5], [3]]
    assert images.client(1, "train")[1].tolist() == [0, 2, 2]
    assert [_numbers(images.client(client, "test")[0]) for client in range(2)] == [[501], [500, 502]]
    assert [images.num_samples(client) for client in range(3)] == [2, 3, 1]
    assert len(images.client(0, "validation")[1]) == 0
    assert images.public is None


def test_writer_without_test_images_gets_a_draw_from_the_global_test_set():
    images = federate(_data(), DataSection(min_samples=1), seed=0)
    # The only image of writer c has label 0; so has test image 500 alone.
    assert _numbers(images.client(2, "test")[0]) == [500]


def test_fewer_natural_clients_are_the_first_writers_and_their_test_images():
    images = federate(_data(), DataSection(clients=1, min_samples=1), seed=0)
    assert _numbers(images.test.images) == [501]
    assert images.mean_image.item() == pytest.approx(0.501)


def test_writers_with_too_few_images_are_no_clients():
    images = federate(_data(), DataSection(min_samples=2), seed=0)
    assert images.num_clients == 2
    with pytest.raises(ScenarioError, match=r"data\.clients must be 1 to 2, the writers with at least 2 .* got 3"):
        federate(_data(), DataSection(clients=3, min_samples=2), seed=0)


def test_default_partition_is_dirichlet_without_writers_and_natural_needs_them():
    data = replace(_data(), train_writers=None, test_writers=None)
    images = federate(data, DataSection(clients=2, min_samples=1), seed=0)
    assert sorted(_numbers(images.client(0, "train")[0]) + _numbers(images.client(1, "train")[0])) == list(range(6))
    with pytest.raises(ScenarioError, match="has no writers; choose iid, dirichlet or shards"):
        federate(data, DataSection(partition="natural"), seed=0)


DIGITS = DataSection(clients=60, partition="dirichlet", validation=0.25, public=100)


@pytest.fixture(scope="module")
def digits():
    return federate(Digits(size=8).load(), DIGITS, seed=3)


def test_validation_is_carved_from_the_client_s_own_images(digits):
    whole = federate(digits.data, replace(DIGITS, validation=0.0), seed=3)
    for client in range(60):
        train, validation = digits.train_indices[client].tolist(), digits.validation_indices[client].tolist()
        assert sorted(train + validation) == sorted(whole.train_indices[client].tolist())
        assert len(validation) == min(max(1, round(0.25 * whole.num_samples(client))), whole.num_samples(client) - 1)


def test_public_images_are_tested_nowhere(digits):
    public = {tuple(image.flatten().tolist()) for image in digits.public.images}
    assert (len(digits.public), len(digits.test)) == (100, 197)
    assert public.isdisjoint(tuple(image.flatten().tolist()) for image in digits.test.images)
    for client in range(60):
        images, _ = digits.client(client, "test")
        assert len(images) >= 1
        assert public.isdisjoint(tuple(image.flatten().tolist()) for image in images)


def test_local_tests_have_the_client_s_label_proportions(digits):
    for client in range(60):
        own = torch.cat([digits.train_indices[client], digits.validation_indices[client]])
        labels = digits.client(client, "test")[1]
        size = max(1, round(197 * len(own) / 1_500))
        wanted = apportion(torch.bincount(digits.data.train_labels[own], minlength=10), size)
        assert torch.equal(torch.bincount(labels, minlength=10), wanted)


def test_mean_image_is_that_of_all_test_images(digits):
    torch.testing.assert_close(digits.mean_image, Digits(size=8).load().test_images.mean(0))


def test_seed_alone_decides_and_nothing_global_is_touched(digits):
    before = torch.get_rng_state()
    again, other = (federate(digits.data, DIGITS, seed=seed) for seed in (3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for field in ("train_indices", "validation_indices", "test_indices"):
        assert all(map(torch.equal, getattr(digits, field), getattr(again, field)))
        assert not all(map(torch.equal, getattr(digits, field), getattr(other, field)))
    assert torch.equal(digits.public.images, again.public.images)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"public": 297}, r"data\.public must be 0 to 296, .* got 297"),
        ({"validation": 1.0}, r"data\.validation must be below 1"),
        ({"clients": 751}, r"data\.clients must be 1 to 750"),
    ],
)
def test_impossible_keys_are_refused(digits, change, message):
    with pytest.raises(ScenarioError, match=message):
        federate(digits.data, replace(DIGITS, **change), seed=0)


def test_validation_needs_two_images_a_client():
    with pytest.raises(ScenarioError, match=r"needs 2 images a client, got 0\.5 and a client with 1"):
        federate(_data(), DataSection(min_samples=1, validation=0.5), seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_images": _numbered(0, 6) + 1}, r"train_images must be in \[0, 1\], got 1 to"),
        ({"test_images": _numbered(0, 3) * torch.nan}, "test_images must be in"),
        ({"train_images": _numbered(0, 6).double()}, "train_images must be torch.float32"),
        ({"train_labels": torch.tensor([0, 1, 2, 3, 0, 0])}, r"train_labels must be in 0 \.\. 2, got 0 to 3"),
        ({"test_labels": torch.zeros(2, dtype=torch.long)}, r"test_labels must be torch.int64 \[3\]"),
        ({"test_writers": None}, "test_writers must be torch.int64"),
        ({"writers": ("a", "b")}, r"train_writers must be in 0 \.\. 1"),
    ],
)
def test_data_set_that_breaks_its_promises_is_named(change, message):
    with pytest.raises(PluginError, match=message):
        federate(replace(_data(), **change), DataSection(min_samples=1), seed=0)


def test_apportion_gives_the_largest_remainders_the_rest():
    assert apportion(torch.tensor([5, 3, 0, 2]), 4).tolist() == [2, 1, 0, 1]
    assert apportion(torch.tensor([1, 1, 1]), 2).tolist() == [1, 1, 0]


def test_draw_of_a_label_that_the_pool_lacks_is_one_image_of_the_pool():
    pool = torch.tensor([7, 9])
    drawn = draw_like(torch.tensor([2]), pool, torch.tensor([0, 1]), 3, 1, torch.Generator().manual_seed(0))
    assert drawn.tolist() in ([7], [9])


def test_federation_moves_as_a_whole(digits):
    moved = digits.to("meta")
    images, labels = moved.client(0, "train")
    tensors = [images, labels, moved.mean_image, moved.test.images, moved.public.labels, *moved.client(0, "test")]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert moved.num_samples(0) == digits.num_samples(0)


@pytest.mark.slow
def test_shared_femnist_of_193_writers(shared):
    data = Femnist(str(shared / "data/femnist")).load()
    images = federate(data, DataSection(clients=193, partition="natural"), seed=0)
    assert images.num_clients == 193
    assert sum(map(images.num_samples, range(193))) == int((data.train_writers < 193).sum())
    assert torch.equal(images.test.labels, data.test_labels[data.test_writers < 193])
    own = [images.client(client, "test")[1] for client in range(193)]
    assert torch.equal(torch.cat(own), images.test.labels)
