"""The images of all clients: who holds which, and what is tested on what."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from priprune_plugins.data.images import ImageData, checked
from priprune_plugins.data.local_tests import local_tests
from priprune_plugins.data.natural import natural_clients
from priprune_plugins.data.partitions import Parts, partition
from priprune_plugins.data.splits import carve_validation, split_public
from priprune_plugins.messages import Batch, LabelledSet, Split
from priprune_plugins.scenario.sections import DataSection


@dataclass(frozen=True, eq=False)
class FederatedImages:
    """All images, resident on one device, and each client's positions in them.

    Args:
        data: The images.
        train_indices: Per client, positions ``[n]`` in the training images that it trains on.
        validation_indices: Per client, other positions in the training images; empty without validation.
        test_indices: Per client, positions in the test images, at least one: a writer's own where clients are writers,
            else a draw from ``test`` in the client's label proportions (clients may share images).
        test: The global test set: the test images of all chosen writers or all, without the public ones.
        public: The server's labelled public set, or None.
        mean_image: ``[C, H, W]`` mean of the global test images and the public ones.
    """

    data: ImageData
    train_indices: Parts
    validation_indices: Parts
    test_indices: Parts
    test: LabelledSet
    public: LabelledSet | None
    mean_image: Tensor

    @property
    def num_clients(self) -> int:
        """Number of clients."""
        return len(self.train_indices)

    def num_samples(self, client_id: int) -> int:
        """Return how many images a client trains on."""
        return self.train_indices[client_id].numel()

    def client(self, client_id: int, split: Split) -> Batch:
        """Return a client's images ``[n, C, H, W]`` and labels ``[n]`` of one split, as copies."""
        data = self.data
        if split == "test":
            index = self.test_indices[client_id]
            return data.test_images.index_select(0, index), data.test_labels.index_select(0, index)
        index = (self.train_indices if split == "train" else self.validation_indices)[client_id]
        return data.train_images.index_select(0, index), data.train_labels.index_select(0, index)

    def to(self, device: torch.device | str) -> "FederatedImages":
        """Return the same federation with every tensor on ``device``."""
        data = self.data
        return replace(
            self,
            data=replace(
                data,
                train_images=data.train_images.to(device),
                train_labels=data.train_labels.to(device),
                test_images=data.test_images.to(device),
                test_labels=data.test_labels.to(device),
            ),
            train_indices=tuple(index.to(device) for index in self.train_indices),
            validation_indices=tuple(index.to(device) for index in self.validation_indices),
            test_indices=tuple(index.to(device) for index in self.test_indices),
            test=_moved(self.test, device),
            public=None if self.public is None else _moved(self.public, device),
            mean_image=self.mean_image.to(device),
        )


def federate(data: ImageData, section: DataSection, seed: int) -> FederatedImages:
    """Deal the images of a data set to clients.

    Natural clients are the first ``section.clients`` of the sorted writers that hold at least ``section.min_samples``
    training images, as LEAF leaves out smaller ones. Every draw has its own stream of ``seed``.

    Args:
        data: The images.
        section: Host keys of ``data``; without a partition, ``natural`` where there are writers, else ``dirichlet``.
        seed: The scenario's seed.

    Raises:
        ScenarioError: The keys do not fit the data: too many clients, natural clients without writers, no validation or
            test image left.
        PluginError: The data set breaks the promises of :class:`ImageData`.
    """
    data = checked(data)
    section = replace(
        section, partition=section.partition or ("dirichlet" if data.train_writers is None else "natural")
    )
    if section.partition == "natural":
        parts, own_tests = natural_clients(data, section)
        tests = torch.cat(own_tests)
    else:
        parts, own_tests = partition(data.train_labels, data.num_classes, section, seed), ()
        tests = torch.arange(len(data.test_labels))
    public, pool = split_public(tests, section.public, seed)
    train, validation = carve_validation(parts, section.validation, seed)
    return FederatedImages(
        data=data,
        train_indices=train,
        validation_indices=validation,
        test_indices=local_tests(data, parts, own_tests, pool, seed),
        test=_tests(data, pool),
        public=_tests(data, public) if section.public else None,
        mean_image=data.test_images[tests].mean(0),
    )


def _tests(data: ImageData, index: Tensor) -> LabelledSet:
    return LabelledSet(data.test_images[index], data.test_labels[index])


def _moved(part: LabelledSet, device: torch.device | str) -> LabelledSet:
    return LabelledSet(part.images.to(device), part.labels.to(device))
