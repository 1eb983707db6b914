"""A whole scenario, checked.

Importing this module does not import torch.
"""

from dataclasses import dataclass, field
from pathlib import Path

from priprune_plugins.scenario.sections import (
    AggregationSection,
    AlgorithmSection,
    AuditSection,
    CaptureSection,
    CheckpointSection,
    DataSection,
    EvaluationSection,
    ModelSection,
    NetworkSection,
    PrivacySection,
    SimulationSection,
    StatesSection,
)
from priprune_plugins.scenario.selection import Selection


@dataclass(frozen=True)
class Scenario:
    """A whole scenario after includes, overrides and the check of keys, names and the host's own values.

    Args:
        name: Names the run folder; a plain file name.
        seed: Every random stream is derived from it.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.
        rounds: Rounds of training.
        data: Host keys of ``data``.
        dataset: The data set.
        model: Host keys of ``model``.
        architecture: The model.
        algorithm: Host keys of ``algorithm``.
        federation: The FedLab algorithm.
        aggregation: How uploads become the next server weights.
        pruner: The base pruner, or None.
        defenses: In the order in which an upload passes them.
        attacks: Attackers; each gets the same captures.
        trackers: Receivers of what happens.
        simulation: How a round is computed.
        evaluation: When the global model is tested.
        capture: Which uploads are kept for the attacks.
        audit: Probe uploads, attacked instead of the training's own; None = none.
        privacy: How reconstructions are measured.
        checkpoint: When a run writes down what it needs to go on after a kill.
        states: Where the clients' states live.
        network: How clients in other processes are reached; None = the defaults.
        modules: Folders in which ``module:Class`` is looked for, beside the scenario's own and the current one.
        source: The file that it was read from.
    """

    name: str
    seed: int
    device: str
    rounds: int
    data: DataSection
    dataset: Selection
    model: ModelSection
    architecture: Selection
    algorithm: AlgorithmSection
    federation: Selection
    aggregation: AggregationSection = field(default_factory=AggregationSection)
    pruner: Selection | None = None
    defenses: tuple[Selection, ...] = ()
    attacks: tuple[Selection, ...] = ()
    trackers: tuple[Selection, ...] = ()
    simulation: SimulationSection = field(default_factory=SimulationSection)
    evaluation: EvaluationSection = field(default_factory=EvaluationSection)
    capture: CaptureSection = field(default_factory=CaptureSection)
    audit: AuditSection | None = None
    privacy: PrivacySection = field(default_factory=PrivacySection)
    checkpoint: CheckpointSection = field(default_factory=CheckpointSection)
    states: StatesSection = field(default_factory=StatesSection)
    network: NetworkSection | None = None
    modules: tuple[str, ...] = field(default=(), compare=False)
    source: Path | None = field(default=None, compare=False)

    def selections(self) -> tuple[Selection, ...]:
        """Return every chosen plugin: algorithm, pruner, defences, attacks, trackers in hook order; data and model."""
        pruner = () if self.pruner is None else (self.pruner,)
        chosen = (self.federation, *pruner, *self.defenses, *self.attacks, *self.trackers)
        return (*chosen, self.dataset, self.architecture)
