"""What a visit leaves, as it travels to the server: what a client withheld stays where it is.

An upload that is not observed leaves no image and no start behind it either: only the run's own privacy figures need
those. Figures that the simulation measures at the client (loss, withheld rate and mass, the base mask) always travel.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from priprune_plugins.masks import applied
from priprune_plugins.messages import Batch, Upload
from priprune_plugins.network.checks import mapping, number, part, whole
from priprune_plugins.network.frames import FrameError
from priprune_plugins.network.received import Expected
from priprune_plugins.simulation.batches import TrainedOn
from priprune_plugins.simulation.sent import Sent
from priprune_plugins.simulation.visits import Visit

_MASK, _BROADCAST = "the server's mask", "the broadcast"


def upload_value(upload: Upload) -> dict[str, Any]:
    """Return an upload as a frame has it, what is withheld being 0."""
    return _Sender(upload.shared).upload(upload)


def sent_value(sent: Sent, visit: Visit) -> dict[str, Any]:
    """Return what a visit leaves as a frame has it.

    Args:
        sent: What it leaves.
        visit: The visit, with the very tensors that the server sent.
    """
    sender = _Sender(sent.upload.shared)
    known = {id(visit.payload[0]): _BROADCAST} | ({} if visit.mask is None else {id(visit.mask): _MASK})
    value = {
        "upload": sender.upload(sent.upload),
        "pack": [sender.cleared(element) for element in sent.pack],
        "mask": _named(sent.mask, known),
        "present": _named(sent.present, known),
        "received": _named(sent.received, known),
        "loss": sent.loss,
        "withheld_rate": sent.withheld_rate,
        "gradient_mass_withheld": sent.gradient_mass_withheld,
        "extras_bytes": dict(sent.extras_bytes),
        "batch_size": sent.batches.batch_size,
    }
    return value | (_behind(sent) if visit.observed else {})


def _behind(sent: Sent) -> dict[str, Any]:
    images, labels = sent.truth
    start = None if sent.start is sent.received else sent.start
    return {"start": start, "offset": sent.offset, "images": images, "labels": labels}


def _named(found: Tensor | None, known: dict[int, str]) -> Tensor | str | None:
    return None if found is None else known.get(id(found), found)


class _Sender:
    """Sets what is withheld to 0; a tensor that is met twice stays one tensor."""

    def __init__(self, shared: Tensor | None) -> None:
        self._shared = shared
        self._done: dict[int, tuple[Tensor, Tensor]] = {}

    def cleared(self, found: Tensor) -> Tensor:
        if self._shared is None or found.shape != self._shared.shape:
            return found
        # The original is held too, so that no other tensor can take its id.
        return self._done.setdefault(id(found), (found, applied(found, self._shared)))[1]

    def upload(self, upload: Upload) -> dict[str, Any]:
        return {
            "num_samples": upload.num_samples,
            "weights": self.cleared(upload.weights),
            "shared": upload.shared,
            "extras": {name: self.cleared(extra) for name, extra in upload.extras.items()},
            "buffers": dict(upload.buffers),
        }


def upload_of(value: Any, visit: Visit, expected: Expected, trained: bool = True) -> Upload:
    """Return the upload of a frame.

    Args:
        value: What :func:`upload_value` made.
        visit: The visit.
        expected: What a client may send.
        trained: False for a setup round's.

    Raises:
        FrameError: It is not what the client of ``visit`` could send.
    """
    found = mapping(value, "upload")
    samples = whole(part(found, "num_samples"), "upload.num_samples")
    if samples != expected.num_samples(visit.client_id):
        raise FrameError(f"upload.num_samples of client {visit.client_id} is {samples}")
    return Upload(
        client_ids=(visit.client_id,),
        round_idx=visit.round_idx,
        num_samples=samples,
        weights=expected.vector(part(found, "weights"), "upload.weights"),
        shared=expected.mask(part(found, "shared"), "upload.shared"),
        extras=expected.extras(part(found, "extras"), trained),
        buffers=expected.buffers(part(found, "buffers")),
    )


def sent_of(value: Any, visit: Visit, expected: Expected) -> Sent:
    """Return what a visit left, from a frame.

    Args:
        value: What :func:`sent_value` made.
        visit: The visit.
        expected: What a client may send.

    Raises:
        FrameError: It is not what the client of ``visit`` could leave.
    """
    found = mapping(value, "answer")
    upload = upload_of(part(found, "upload"), visit, expected)
    received = part(found, "received")
    own = not (isinstance(received, str) and received == _BROADCAST)
    received = expected.vector(received, "received") if own else visit.payload[0]
    start, offset = (found.get(name) if visit.observed else None for name in ("start", "offset"))
    sent = Sent(
        upload=upload,
        pack=expected.pack(part(found, "pack")),
        mask=_mask(part(found, "mask"), "mask", visit, expected),
        present=_mask(part(found, "present"), "present", visit, expected),
        received=received,
        start=received if start is None else expected.vector(start, "start"),
        batches=_batches(found, visit, expected),
        loss=None if part(found, "loss") is None else number(found["loss"], "loss"),
        withheld_rate=number(part(found, "withheld_rate"), "withheld_rate"),
        gradient_mass_withheld=_number_or_none(part(found, "gradient_mass_withheld")),
        extras_bytes={
            name: whole(size, "extras_bytes") for name, size in mapping(part(found, "extras_bytes"), "bytes").items()
        },
        offset=None if offset is None else expected.vector(offset, "offset"),
    )
    expected.take(sent.pack)
    return sent


def _mask(found: Any, name: str, visit: Visit, expected: Expected) -> Tensor | None:
    return visit.mask if isinstance(found, str) and found == _MASK else expected.mask(found, name)


def _number_or_none(found: Any) -> float | None:
    return None if found is None else number(found, "gradient_mass_withheld")


@dataclass(frozen=True, eq=False)
class Told:
    """Batches as the server knows them.

    Args:
        batch_size: Images of the first step.
        images_and_labels: The distinct ones, where the visit was observed.
    """

    batch_size: int
    images_and_labels: Batch | None

    def distinct(self) -> Batch:
        """Return the images and labels of an observed visit."""
        if self.images_and_labels is None:
            raise RuntimeError("the images of a visit that is not observed stay with the client")
        return self.images_and_labels


def _batches(found: dict[str, Any], visit: Visit, expected: Expected) -> TrainedOn:
    size = whole(part(found, "batch_size"), "batch_size", least=1)
    if not visit.observed:
        return Told(size, None)
    return Told(size, expected.batch(part(found, "images"), part(found, "labels")))
