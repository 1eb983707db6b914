"""Any FedLab trainer and handler of a user's own."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Literal

from priprune_plugins.errors import ScenarioError
from priprune_plugins.simulation.algorithm import Algorithm, LocalTraining
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.flat_fedlab import is_overridden

_RESIDENT = frozenset({"_model", "flat", "dataset", "optimizer", "criterion", "_LOGGER", "steps", "loaded", "cache"})


@dataclass(frozen=True, eq=False)
class FedLabPair(Algorithm):
    """A SerialClientTrainer and a SyncServerHandler by ``module:Class``, with what their uploads mean.

    The trainer's ``setup_optim`` is called with ``epochs, batch_size, lr`` and ``trainer_options``; the handler's with
    ``handler_options``, where there are any.

    Args:
        trainer_path: ``module:Class`` of the trainer.
        handler_path: ``module:Class`` of the handler.
        form: Whether element 0 of an upload is the client's ``weights`` or its ``update``.
        extras: Names of the further elements of an upload.
        vectors: Which of them have one number per parameter; these are withheld and pruned like the weights.
        uniform: Which of them are averaged without sample weights.
        trainer_options: Further keyword arguments of the trainer's ``setup_optim``.
        handler_options: Keyword arguments of the handler's ``setup_optim``.
    """

    trainer_path: str
    handler_path: str
    form: Literal["weights", "update"] = "weights"
    extras: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    uniform: tuple[str, ...] = ()
    trainer_options: Mapping[str, Any] = field(default_factory=dict)
    handler_options: Mapping[str, Any] = field(default_factory=dict)

    portable: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for key, names in (("vectors", self.vectors), ("uniform", self.uniform)):
            unknown = sorted(set(names) - set(self.extras))
            if unknown:
                raise ScenarioError(
                    f"algorithm.{key} names {unknown[0]}, which is not among extras: {list(self.extras)}"
                )

    @property
    def codec(self) -> Codec:  # type: ignore[override]
        vectors, uniform = frozenset(self.vectors), frozenset(self.uniform)
        return Codec(form=self.form, extras=self.extras, vectors=vectors, uniform=uniform)

    @property
    def trainer_class(self) -> type:  # type: ignore[override]
        return _class(self.trainer_path)

    @property
    def handler_class(self) -> type:  # type: ignore[override]
        return _class(self.handler_path)

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return that the handler aggregates by a rule of its own, where it does."""
        own = [name for name in ("load", "global_update") if is_overridden(self.handler_class, name)]
        return f"{self.handler_path} has a {own[0]} of its own, which may need each upload" if own else None

    def memory(self, trainer: Any, client_id: int) -> dict[str, Any]:
        """Return copies of all that the trainer holds beside model and data: which is one client's is not known."""
        return {name: deepcopy(value) for name, value in vars(trainer).items() if name not in _RESIDENT}

    def restore(self, trainer: Any, client_id: int, memory: Mapping[str, Any]) -> None:
        vars(trainer).update(memory)

    def setup_trainer(self, trainer: Any, training: LocalTraining) -> None:
        trainer.setup_optim(training.epochs, training.batch_size, training.lr, **self.trainer_options)

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        if self.handler_options:
            handler.setup_optim(**self.handler_options)


def _class(path: str) -> type:
    module, _, name = path.partition(":")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ScenarioError(f"algorithm: cannot load {path!r} as module:Class: {error}") from error
    if not isinstance(found, type):
        raise ScenarioError(f"algorithm: {path!r} is not a class")
    return found
