"""How training images without natural owners are dealt to clients: FedLab's partitioners.

References: Hsu, Qi, Brown, "Measuring the Effects of Non-Identical Data Distribution for Federated Visual
Classification", 2019, arXiv:1909.06335, and Yurochkin et al., "Bayesian Nonparametric Federated Learning of Neural
Networks", ICML 2019, arXiv:1905.12022 (Dirichlet); McMahan et al., "Communication-Efficient Learning of Deep Networks
from Decentralized Data", AISTATS 2017, arXiv:1602.05629 (shards).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from priprune_plugins.errors import ScenarioError
from priprune_plugins.generators import generator, seeded_globals
from priprune_plugins.quiet_logging import root_logger_untouched
from priprune_plugins.scenario.sections import DataSection

Parts = tuple[Tensor, ...]
Labels = npt.NDArray[np.int64]
_MAX_DRAWS = 500


def partition(labels: Tensor, num_classes: int, section: DataSection, seed: int) -> Parts:
    """Deal images to ``section.clients`` clients by ``section.partition``: iid, dirichlet or shards.

    The global generators are left as found.

    Args:
        labels: ``[N]`` int64.
        num_classes: Number of labels ``K``.
        section: Its ``clients`` and ``partition`` must be given.
        seed: The scenario's seed.

    Returns:
        Per client the positions ``[n]`` of its images; no image is dealt twice. ``iid`` and ``dirichlet`` deal all of
        them, ``shards`` all but ``N mod (clients * shards)`` random ones.

    Raises:
        ScenarioError: There are too few images, or a Dirichlet draw that leaves every client enough is too rare.
    """
    num_clients = _num_clients(len(labels), section)
    with root_logger_untouched():
        # Here and not above: importing FedLab writes to the root logger.
        from fedlab.utils.dataset import functional as fedlab
    with seeded_globals(seed, "partition"):
        targets: Labels = labels.cpu().numpy()
        if section.partition == "iid":
            dealt = _iid(fedlab, len(targets), num_clients)
        elif section.partition == "shards":
            dealt = _shards(fedlab, targets, num_clients, section, seed)
        else:
            dealt = _dirichlet(fedlab, targets, num_classes, num_clients, section)
    return tuple(torch.from_numpy(np.asarray(dealt[client], np.int64)) for client in range(num_clients))


def _num_clients(num_images: int, section: DataSection) -> int:
    """Return ``section.clients`` if the images can give each of them ``section.min_samples``."""
    most = num_images // section.min_samples
    if section.clients is None or section.clients > most:
        raise ScenarioError(
            f"data.clients must be 1 to {most} for partition {section.partition} "
            f"({num_images} images, data.min_samples {section.min_samples}), got {section.clients}"
        )
    return section.clients


def _iid(fedlab: Any, num_images: int, num_clients: int) -> Mapping[int, Labels]:
    # FedLab's balance_split would drop the remainder.
    sizes = np.full(num_clients, num_images // num_clients)
    sizes[: num_images % num_clients] += 1
    dealt: Mapping[int, Labels] = fedlab.homo_partition(sizes, num_images)
    return dealt


def _shards(fedlab: Any, targets: Labels, num_clients: int, section: DataSection, seed: int) -> Mapping[int, Labels]:
    num_shards = num_clients * section.shards
    held = len(targets) // num_shards * section.shards
    if held < section.min_samples:
        raise ScenarioError(
            f"data.shards {section.shards} gives each of {num_clients} clients {held} of {len(targets)} images, "
            f"fewer than data.min_samples {section.min_samples}; lower one of the three"
        )
    # FedLab drops the remainder from the end of the sorted labels, so from one class; here it is drawn.
    order = torch.randperm(len(targets), generator=generator(seed, "partition", "left out")).numpy()
    kept = np.sort(order[: len(targets) - len(targets) % num_shards])
    # Ranks in place of labels: FedLab's unstable sort breaks ties between equal labels by the machine's vector width.
    ranks = np.argsort(np.argsort(targets[kept], kind="stable"), kind="stable")
    dealt = fedlab.shards_partition(ranks, num_clients, num_shards)
    return {client: kept[positions] for client, positions in dealt.items()}


def _dirichlet(
    fedlab: Any, targets: Labels, num_classes: int, num_clients: int, section: DataSection
) -> Mapping[int, Labels]:
    bound = _BoundedDraws(section, num_clients, len(targets))
    # At a small alpha every share of a class can fall to clients that are full already; FedLab then divides 0 by 0 and
    # deals the whole class to the last client.
    with np.errstate(invalid="ignore"):
        dealt: Mapping[int, Labels] = fedlab.hetero_dir_partition(
            targets, num_clients, num_classes, section.alpha, min_require_size=bound
        )
    return dealt


class _BoundedDraws:
    """A smallest client size that gives up: FedLab draws again ``while min_size < min_require_size``, for ever.

    Args:
        section: Its ``min_samples`` is the size.
        num_clients: For the message.
        num_images: For the message.
    """

    def __init__(self, section: DataSection, num_clients: int, num_images: int) -> None:
        self._section, self._num_clients, self._num_images = section, num_clients, num_images
        # The first comparison precedes the first draw.
        self._draws = -1

    def __gt__(self, min_size: int) -> bool:
        self._draws += 1
        if self._draws and min_size >= self._section.min_samples:
            return False
        if self._draws >= _MAX_DRAWS:
            raise ScenarioError(
                f"data.alpha {self._section.alpha:g}: none of {_MAX_DRAWS} draws of {self._num_images} images gave "
                f"each of {self._num_clients} clients at least {self._section.min_samples} (data.min_samples); "
                "raise alpha, or lower clients or min_samples"
            )
        return True
