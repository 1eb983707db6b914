"""What the host must know of a FedLab algorithm to drive it one client at a time."""

from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor, nn

from priprune_plugins.errors import ScenarioError
from priprune_plugins.messages import Client, Upload
from priprune_plugins.quiet_logging import root_logger_untouched
from priprune_plugins.simulation.codecs import Codec
from priprune_plugins.simulation.flat_fedlab import flat_handler, flat_trainer
from priprune_plugins.simulation.local_rule import LocalRule

if TYPE_CHECKING:
    from priprune_plugins.simulation.sent import Sent


@dataclass(frozen=True)
class LocalTraining:
    """The clients' training as FedLab's ``setup_optim`` takes it.

    Args:
        epochs: Iterations over the loader; 1 where ``local_steps`` is used, the loader then gives that many batches.
        batch_size: Images a step.
        lr: Learning rate.
        clients_per_round: Clients sampled a round.
        num_clients: Clients in all.
        seed: The scenario's, for what an algorithm draws by itself.
    """

    epochs: int
    batch_size: int
    lr: float
    clients_per_round: int
    num_clients: int
    seed: int = 0


@dataclass(frozen=True, eq=False)
class Algorithm:
    """A FedLab trainer and handler with what their uploads mean; subclasses add options as fields.

    Class attributes: ``codec``, ``trainer_class`` (a SerialClientTrainer), ``handler_class`` (a SyncServerHandler), and
    ``stateful``: whether the trainer remembers anything of a client, see :meth:`held`; ``portable``: whether that is
    all that its next training needs, so that any trainer can do it; ``several_models``: whether ``server.weights``
    stand for more than one, so that no plugin may set them.
    """

    codec: ClassVar[Codec] = Codec()
    stateful: ClassVar[bool] = False
    portable: ClassVar[bool] = True
    several_models: ClassVar[bool] = False
    trainer_class: ClassVar[type]
    handler_class: ClassVar[type]

    def trainer(self, model: nn.Module, training: LocalTraining) -> Any:
        """Return the trainer with a flat model, optimiser set up, without a data set."""
        device = next(model.parameters()).device
        with root_logger_untouched():
            made = flat_trainer(self.trainer_class)(model, training.num_clients, *_cuda(device))
        self.setup_trainer(made, training)
        return made

    def handler(self, model: nn.Module, training: LocalTraining, rounds: int) -> Any:
        """Return the handler with a flat model, told the number of clients."""
        device = next(model.parameters()).device
        ratio = training.clients_per_round / training.num_clients
        with root_logger_untouched():
            made = flat_handler(self.handler_class)(model, rounds, ratio, *_cuda(device))
        made.num_clients = training.num_clients
        made.expected = training.clients_per_round
        self.setup_handler(made, training)
        return made

    def setup_trainer(self, trainer: Any, training: LocalTraining) -> None:
        """Call the trainer's ``setup_optim``."""
        trainer.setup_optim(training.epochs, training.batch_size, training.lr)

    def setup_handler(self, handler: Any, training: LocalTraining) -> None:
        """Call the handler's ``setup_optim`` where it has one."""

    def check_clients(self, num_clients: int, clients_per_round: int) -> None:
        """Refuse options that do not go with so many clients in all and in a round.

        Raises:
            ScenarioError: One does not.
        """

    def refused(self, extras: Mapping[str, Tensor]) -> str | None:
        """Return why no client can have sent these of the codec's extras, or None.

        Asked of uploads from other processes, whose tensors may have any shape and dtype.
        """
        return None

    def sample(self, handler: Any, trainer: Any, broadcast: Tensor) -> list[int]:
        """Return the client ids of a round; drawn inside a scope that seeds the global generators."""
        return sorted(handler.sample_clients())

    def prepared(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Sequence[Tensor]:
        """Return what a client works from, made of what it was sent; element 0 is the broadcast to it, ``[D]``.

        Called before each visit, with the batch-norm statistics loaded that the client starts from; what the model
        holds afterwards does not matter.
        """
        return payload

    def newest(self, payload: Sequence[Tensor]) -> Sequence[Tensor]:
        """Return what of a round's payload a client is sent that gets the newest: for its bytes, and for evaluation."""
        return payload

    def personal(self, memory: Mapping[str, Any]) -> Tensor | None:
        """Return the weights ``[D]`` that a client with this :meth:`held` would use, or None for the broadcast."""
        return None

    def parts(self, handler: Any, received: Sequence["Sent"]) -> Iterator[Sequence["Sent"]]:
        """Yield a round's uploads in those parts that are averaged apart, each with the handler ready for it.

        ``handler.flat`` holds the dense weights that the part's uploads are measured against, and when the generator
        goes on, what became of them.
        """
        yield received

    def dense(self, handler: Any, upload: Upload) -> Tensor | None:
        """Return the server's dense weights ``[D]`` behind what this sender was sent; None = ``server.weights``."""
        return None

    def local_rule(self) -> LocalRule | None:
        """Return what :attr:`trainer_class` computes in its local steps; None where only the trainer itself can say.

        It holds for that very class: a subclass of the algorithm with another trainer has to say it anew.
        """
        return None

    def plain_gradient(self, gradient: Tensor, client: Client) -> Tensor:
        """Turn the optimiser's gradient into that of the plain loss."""
        return gradient

    def held(self, trainer: Any, client_id: int) -> dict[str, Any]:
        """Return the live objects that the trainer keeps of one client.

        The host takes them out of the trainer after each visit and puts them back before the next, so that they are
        saved and spilled with what plugins remember.
        """
        return {}

    def memory(self, trainer: Any, client_id: int) -> dict[str, Any]:
        """Return copies of what the trainer keeps of one client, to restore it after a probe or a dropped upload."""
        return deepcopy(self.held(trainer, client_id))

    def restore(self, trainer: Any, client_id: int, memory: Mapping[str, Any]) -> None:
        """Put back what :meth:`held` or :meth:`memory` gave; an empty mapping makes the trainer forget the client."""

    def corrected(self, pack: list[Tensor], client: Client, training: LocalTraining) -> list[Tensor]:
        """Mend extras that took the difference to the broadcast for the training's own change."""
        return pack

    def edited(
        self, extras: Mapping[str, Tensor], change: Tensor, client: Client, training: LocalTraining
    ) -> Mapping[str, Tensor]:
        """Let the extras follow a ``change [D]`` that a plugin made to the weights after training."""
        return extras

    def needs_single_uploads(self, steps: int | None, weighting: str) -> str | None:
        """Return why the mean of a round's uploads is not enough to aggregate, or None.

        Args:
            steps: Local steps, or None for whole passes.
            weighting: ``samples`` or ``uniform``, the weights of the mean.
        """
        return None

    @property
    def proximal(self) -> float:
        """Strength ``mu`` of the term ``mu (w - start)`` that the algorithm adds to each step's gradient."""
        return 0.0

    def known_offset(self, trainer: Any, payload: Sequence[Tensor], client_id: int) -> Tensor | None:
        """Return what the server knows was added to each step's gradient, ``[D]``, or None; called before training."""
        return None

    def settle(self, trainer: Any, client_id: int, memory: dict[str, Any], pack: list[Tensor], sent: Tensor) -> None:
        """Update what the trainer keeps of a client by what was really sent.

        Only called where that is not what the trainer gave, or the training did not start from the broadcast.

        Args:
            trainer: Has updated it by what the client trained.
            client_id: The client.
            memory: What :meth:`memory` gave before the training.
            pack: What is sent.
            sent: ``[D]`` bool, True where it is.
        """


def _cuda(device: Any) -> tuple[bool, str | None]:
    return (True, str(device)) if device.type == "cuda" else (False, None)


def clients_checked(num_clients: int, clients_per_round: int) -> None:
    """Refuse more clients a round than there are.

    Raises:
        ScenarioError: ``clients_per_round`` is above ``num_clients``.
    """
    if clients_per_round > num_clients:
        raise ScenarioError(
            f"algorithm.clients_per_round must be at most the number of clients ({num_clients}), got "
            f"{clients_per_round}; lower it, or raise data.clients"
        )
