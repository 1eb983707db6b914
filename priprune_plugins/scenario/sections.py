"""What a scenario says, as typed values: the host's own keys here, a plugin's options as a mapping.

Importing this module does not import torch. Every default of a host key is here, and nowhere else.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from priprune_plugins.options import Count, Index, NonNegative, Positive, Share


@dataclass(frozen=True)
class DataSection:
    """Host keys of ``data``; the rest are the data set's options.

    Args:
        clients: Number of clients; None = all natural writers.
        partition: How the training images are dealt to clients.
        alpha: Concentration of the Dirichlet partition.
        shards: Shards per client of the shards partition.
        min_samples: Fewest images a client may hold.
        validation: Share of a client's own training images kept for ``evaluate("validation")``.
        public: Number of test images given to the server as its labelled public set and left out of the tests.
    """

    clients: Count | None = None
    partition: Literal["natural", "iid", "dirichlet", "shards"] | None = None
    alpha: Positive = 1.0
    shards: Count = 2
    min_samples: Count = 2
    validation: Share = 0.0
    public: Index = 0


@dataclass(frozen=True)
class ModelSection:
    """Host keys of ``model``.

    Args:
        init: Weight initialisation; None = the model's own choice, He for most.
    """

    init: Literal["he", "default", "glorot"] | None = None


@dataclass(frozen=True)
class AlgorithmSection:
    """Host keys of ``algorithm``; the rest are the algorithm's options.

    Args:
        clients_per_round: Clients sampled a round.
        local_steps: Steps a client makes a round; never together with ``epochs``. Default 1 where neither is given.
        epochs: Passes over the client's own data a round.
        batch_size: Images a step.
        lr: Learning rate of the clients.
    """

    clients_per_round: Count = 10
    local_steps: Count | None = None
    epochs: Count | None = None
    batch_size: Count = 20
    lr: Positive = 0.1


@dataclass(frozen=True)
class AggregationSection:
    """How uploads become the next server weights.

    Args:
        weighting: ``samples`` (the paper) or ``uniform`` (FedLab).
        absent: What a coordinate counts that a client did not send; None = the pruner's own choice, else ``previous``.
        sum: ``running`` in client-id order, or ``stock``, FedLab's own bits.
        buffers: What happens to batch-norm statistics.
        nonfinite: What happens to an upload that holds NaN or infinity.
    """

    weighting: Literal["samples", "uniform"] = "samples"
    absent: Literal["previous", "holders", "zeros"] | None = None
    sum: Literal["running", "stock"] = "running"
    buffers: Literal["average", "local", "server"] = "average"
    nonfinite: Literal["drop", "stop"] = "drop"


@dataclass(frozen=True)
class SimulationSection:
    """How a round is computed.

    Args:
        cohort: Whether the clients of a round train together, as one batch over stacked weights: ``true``, ``false``,
            or ``auto``: on a GPU where algorithm and model allow it. Uploads differ by rounding from those of clients
            that train one after another, which on CPU have FedLab's bits.
        cohort_size: Most clients that train together, which memory grows with; None = all of a round.
    """

    cohort: Literal["auto"] | bool = "auto"
    cohort_size: Count | None = None


@dataclass(frozen=True)
class EvaluationSection:
    """When the global model is tested.

    Args:
        every: Rounds between tests; 0 = about 50 tests a run. The last round is always tested.
        clients: Most clients whose own test accuracy is measured after the last round; 0 = none.
    """

    every: Index = 0
    clients: Index = 50


@dataclass(frozen=True)
class CaptureSection:
    """Which uploads are kept for the attacks.

    Args:
        rounds: These rounds; together with ``every`` an error.
        every: Every n-th round, from 0. Where neither is given: the first and the last round.
        clients: These client ids, or the first k sampled clients of a round.
        max_gib: Stop keeping uploads past this size.
    """

    rounds: tuple[Index, ...] | None = None
    every: Count | None = None
    clients: tuple[Index, ...] | Count = 4
    max_gib: Positive = 10.0


@dataclass(frozen=True)
class AuditSection:
    """Probe uploads by the same hooks from the same weights: attacked, never aggregated.

    With this section the probes are attacked instead of the training's own uploads.

    Args:
        batch_size: Images a probe's step takes.
        victims: Number of clients probed a round.
        rounds: Rounds probed; None = those of ``capture``.
        local_steps: Steps of a probe; None = those of the algorithm, or 1 where clients train whole epochs.
        earlier: Participations of each victim before the audited one. With any before or after it, the clients of the
            lowest ids are the victims, and what plugins remember of them starts empty at the first and goes on from
            probe to probe, apart from the training's. Only the audited one is attacked; attacks are given the others.
        later: Participations after it.
        spacing: Rounds from one participation to the next.
        images: How many of its training images a victim's probes draw from, at least those of one probe; with
            ``batch_size`` as many, the batch is the same every time. None = all.
    """

    batch_size: Count = 1
    victims: Count = 3
    rounds: tuple[Index, ...] | None = None
    local_steps: Count | None = None
    earlier: Index = 0
    later: Index = 0
    spacing: Count = 10
    images: Count | None = None


@dataclass(frozen=True)
class PrivacySection:
    """How reconstructions are measured.

    Args:
        nmi_levels: Grey levels of the normalised mutual information.
        control_images: Images of the positive control of each attacked round; at least 3.
        candidates: Pictures that an identification attack ranks a true image among, itself included; fewer where the
            test set is smaller.
        chunk: Uploads handed to an attack together: what an interrupted attack does again. Results depend on it by
            rounding, and by their draws where an attack draws for a whole chunk.
    """

    nmi_levels: Count = 16
    control_images: Count = 3
    candidates: Annotated[int, Field(ge=2, description="a whole number, at least 2")] = 300
    chunk: Count = 64


@dataclass(frozen=True)
class CheckpointSection:
    """When a run writes down all that it needs to go on after a kill; no figure depends on it.

    Args:
        every: After every n-th round; None = by time.
        seconds: At least this long between two. After an expensive one it is longer, so that writing takes at most 3%
            of the run's time.
        keep: How many are kept while the run lasts; a finished run keeps one. 0 = none is written, and a run that was
            killed cannot be resumed.
    """

    every: Count | None = None
    seconds: Positive = 60.0
    keep: Index = 2


@dataclass(frozen=True)
class StatesSection:
    """Where the clients' states live: what defences, pruners and algorithms remember of each client.

    Args:
        max_gib: Most that they take in memory; the longest unused lie in files. No figure depends on it.
        folder: Where those files go, a fast local disk for instance; None = into the run folder.
        on_loss: What happens where a client's file is gone or damaged and no checkpoint helps: ``fail`` = the run
            stops; ``fresh`` = that client starts anew, with a warning.
    """

    max_gib: NonNegative = 4.0
    folder: str | None = None
    on_loss: Literal["fail", "fresh"] = "fail"


@dataclass(frozen=True)
class NetworkSection:
    """How the clients of ``priprune serve`` are reached, which live in processes of ``priprune join``.

    ``priprune run`` does not look at it, and no figure depends on it.

    Args:
        host: Address that the server listens on; by default no other machine reaches it.
        port: Its port; 0 = any free one.
        processes: Joined processes that the server waits for before it begins, at most as many as clients, which are
            dealt to them.
        wait_seconds: How long it waits for them, and how long one that joins waits for the server.
        timeout_seconds: A process that says nothing for so long is gone, and its clients are dropped; at least 3.
            Every process says once a second that it lives, however long its training takes.
        visit_seconds: Longest that one client's visit may take, with the way there and back.
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535, description="a port, 0 to 65535")] = 7654
    processes: Count = 2
    wait_seconds: Positive = 600.0
    timeout_seconds: Annotated[float, Field(ge=3, description="seconds, at least 3")] = 30.0
    visit_seconds: Positive = 3600.0
