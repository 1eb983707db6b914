"""The last checkpoints of a run: written whole or not at all, checked before they are believed.

``checkpoint/r000040/``, or ``checkpoint/trained/`` after the last round, holds ``state.safetensors`` (server, plugins,
algorithm), ``checkpoint.json`` (which round, which files of clients' states, how long the run's other files were) and
``sha256`` of those two, for ``sha256sum -c``.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from priprune_plugins.checkpoint.client_files import StateFile
from priprune_plugins.checkpoint.durable import replace_durably, sync, write_durably
from priprune_plugins.checkpoint.state_file import DamagedFileError, read_state, write_state

Stage = Literal["training", "trained"]
_FORMAT = 1
_FOLDER = re.compile(r"r\d{6,}")
_STATE, _MANIFEST, _HASHES, _DONE = "state.safetensors", "checkpoint.json", "sha256", "done"
_TRAINED = "trained"


@dataclass(frozen=True)
class Manifest:
    """What a checkpoint says of itself.

    Args:
        next_round: The first round that is not in it.
        stage: ``training``: rounds are left; ``trained``: only attacks may be left.
        sizes: Length in bytes, at that moment, of each file that the run appends to.
        clients: The file of each client's state.
        seconds: How long the run had taken.
        forgotten: Whether clients remembered something elsewhere that was not written down there: no run goes on from
            such a checkpoint.
    """

    next_round: int
    stage: Stage
    sizes: Mapping[str, int] = field(default_factory=dict)
    clients: Mapping[int, StateFile] = field(default_factory=dict)
    seconds: float = 0.0
    forgotten: bool = False


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A whole checkpoint as read.

    Args:
        manifest: What it says of itself.
        state: What was given to :meth:`Checkpoints.write`.
    """

    manifest: Manifest
    state: Any


class Checkpoints:
    """The folder of a run's checkpoints.

    Args:
        folder: Made when the first is written.
        keep: How many are kept, at least 1.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self.folder = folder
        self._keep = keep

    def write(self, manifest: Manifest, state: Any) -> None:
        """Write a checkpoint, give it its name when all of it is on the disk, then remove the oldest.

        Raises:
            UnsavableError: The state holds what no file can; the checkpoints before stay.
            OSError: The disk is full, for instance; the checkpoints before stay.
        """
        path = self.folder / (_TRAINED if manifest.stage == "trained" else f"r{manifest.next_round:06d}")
        temporary = path.with_suffix(".part")
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            digest = write_state(temporary / _STATE, state, "the run's state")
            sync(temporary / _STATE)
            _describe(temporary, manifest, digest)
            sync(temporary)
            replace_durably(temporary, path)
        except BaseException:
            shutil.rmtree(temporary, ignore_errors=True)
            raise
        self._remove(self._paths()[self._keep :])

    def newest(
        self, device: torch.device, unusable: Callable[[Manifest], str | None]
    ) -> tuple[Checkpoint | None, list[str]]:
        """Return the newest checkpoint that is whole, and what is wrong with each that is newer; those are removed.

        Args:
            device: Where tensors go that did not lie on the CPU.
            unusable: Says what else is wrong with a checkpoint, its clients' files for instance, or None.
        """
        refused: list[str] = []
        paths = self._paths()
        for index, path in enumerate(paths):
            try:
                manifest, digest = _manifest(path)
                wrong = unusable(manifest)
                if wrong is None:
                    found = Checkpoint(manifest, read_state(path / _STATE, digest, device))
                    self._remove(paths[:index])
                    return found, refused
                refused.append(wrong)
            except DamagedFileError as error:
                refused.append(str(error))
        return None, refused

    def manifests(self) -> Iterator[Manifest]:
        """Yield what the kept checkpoints say of themselves, newest first; damaged ones are left out.

        Their states, which may be large, are not read.
        """
        for path in self._paths():
            try:
                yield _manifest(path)[0]
            except DamagedFileError:
                continue

    @property
    def done(self) -> bool:
        """Whether the run has been marked as finished."""
        return (self.folder / _DONE).is_file()

    def mark_done(self) -> None:
        """Mark the run as finished, with nothing to resume; only the newest checkpoint stays."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / _DONE).touch()
        self._remove(self._paths()[1:])

    def _paths(self) -> list[Path]:
        rounds = [path for path in self.folder.glob("r*") if _FOLDER.fullmatch(path.name)]
        trained = [path for path in (self.folder / _TRAINED,) if path.is_dir()]
        return [*trained, *sorted(rounds, key=lambda path: int(path.name[1:]), reverse=True)]

    def _remove(self, paths: Sequence[Path]) -> None:
        for path in paths:
            shutil.rmtree(path)


def _describe(folder: Path, manifest: Manifest, digest: str) -> None:
    text = json.dumps({"format": _FORMAT, **asdict(manifest)}, indent=1) + "\n"
    write_durably(folder / _MANIFEST, text)
    own = hashlib.sha256(text.encode()).hexdigest()
    write_durably(folder / _HASHES, f"{own}  {_MANIFEST}\n{digest}  {_STATE}\n")


def _manifest(folder: Path) -> tuple[Manifest, str]:
    """Return what a checkpoint says of itself and the sha256 of its state.

    Raises:
        DamagedFileError: A file is gone, damaged or of another version.
    """
    try:
        hashes = (folder / _HASHES).read_text(encoding="utf-8").split()
        text = (folder / _MANIFEST).read_bytes()
        if len(hashes) != 4 or hashlib.sha256(text).hexdigest() != hashes[0]:
            raise DamagedFileError(f"{folder / _MANIFEST} is damaged: its sha256 is not the one written down")
        return _parsed(json.loads(text), folder), hashes[2]
    except OSError as error:
        raise DamagedFileError(f"{folder} is incomplete: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedFileError(f"{folder} was not written by a checkpoint: {error}") from error


def _parsed(document: dict[str, Any], folder: Path) -> Manifest:
    if document.pop("format") != _FORMAT:
        raise DamagedFileError(f"{folder} was written by another version of priprune")
    clients = {int(client_id): StateFile(**file) for client_id, file in document.pop("clients").items()}
    return Manifest(clients=clients, **document)
