import pytest
import torch
from torch.utils.data import TensorDataset

from priprune_plugins import PluginError
from priprune_plugins.data.torch_datasets import from_datasets


def test_items_are_stacked_in_order():
    images, labels = torch.rand(5, 1, 4, 4), torch.tensor([2, 0, 1, 1, 0])
    train, test = TensorDataset(images[:3], labels[:3]), TensorDataset(images[3:], labels[3:])
    data = from_datasets(train, test, num_classes=3, mean=(0.5,), std=(0.5,))
    assert torch.equal(data.train_images, images[:3])
    assert torch.equal(data.test_labels, labels[3:])


def test_bytes_instead_of_unit_range_are_refused():
    dataset = TensorDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.zeros(2, dtype=torch.long))
    with pytest.raises(PluginError, match=r"must be torch\.float32"):
        from_datasets(dataset, dataset, num_classes=1, mean=(0.5,), std=(0.5,))
