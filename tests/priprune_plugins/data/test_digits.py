import pytest
import torch
from sklearn.datasets import load_digits

from priprune_plugins import ScenarioError
from priprune_plugins.data.digits import MEAN, STD, Digits
from priprune_plugins.data.images import checked


def test_split_sizes_shape_and_constants():
    data = checked(Digits().load())
    assert data.train_images.shape == (1_500, 1, 28, 28)
    assert data.test_images.shape == (297, 1, 28, 28)
    assert data.train_images.mean().item() == pytest.approx(MEAN[0], abs=5e-5)
    assert data.train_images.std().item() == pytest.approx(STD[0], abs=5e-5)


def test_size_eight_gives_scikit_learn_s_own_pixels_each_once():
    data = Digits(size=8).load()
    images = torch.cat([data.train_images, data.test_images]).flatten(1)
    labels = torch.cat([data.train_labels, data.test_labels])
    ours = torch.cat([images * 16, labels[:, None]], 1).tolist()
    bunch = load_digits()
    theirs = [[*pixels, label] for pixels, label in zip(bunch.data.tolist(), bunch.target.tolist(), strict=True)]
    assert sorted(ours) == sorted(theirs)


def test_test_images_do_not_change_with_the_number_of_training_images():
    assert torch.equal(Digits(train=100).load().test_images, Digits().load().test_images)


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    Digits().load()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [({"train": 1_501}, "1797 images, got train 1501"), ({"num_classes": 9}, "at least 10, got 9")],
)
def test_impossible_options_are_refused(options, message):
    with pytest.raises(ScenarioError, match=message):
        Digits(**options).load()
