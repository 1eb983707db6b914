"""From what an attack is given, no truth can be reached; what it knows of masks it reads off the bytes."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from priprune_attacks.targets import compared
from priprune_plugins.data.federation import FederatedImages
from priprune_plugins.data.images import ImageData
from priprune_plugins.messages import Observation
from priprune_plugins.run.assemble import World
from priprune_plugins.run.captures import CaptureStore
from priprune_plugins.run.truth import TruthStore
from priprune_plugins.scenario.whole import Scenario
from priprune_plugins.simulation.federation import Federation
from priprune_plugins.simulation.sent import Sent

Runner = Callable[..., Path]
HOLDERS = (FederatedImages, ImageData, World, CaptureStore, TruthStore, Scenario, Federation, Sent)
SPIES = """
from dataclasses import dataclass
import torch
from priprune_plugins import Reconstruction, hookimpl

SEEN, SHARED = [], {}


@dataclass(frozen=True, eq=False)
class Listens:
    @hookimpl
    def on_server_receive(self, upload):
        SEEN.append(upload)

    @hookimpl
    def reconstruct(self, observations, generator, progress, state):
        SEEN.append((list(observations), generator, progress, state))
        SEEN.extend(earlier for o in observations for earlier in o.earlier)
        shapes = [(o.num_images, *o.facts.image_shape) for o in observations]
        return [Reconstruction(torch.zeros(shape), None, 0.0, torch.zeros(1)) for shape in shapes]


@dataclass(frozen=True, eq=False)
class Sees:
    @hookimpl
    def before_upload(self, client, upload):
        held = (upload.shared, client.mask, upload.weights)
        SHARED[client.round_idx, client.client_id] = tuple(tensor.clone() for tensor in held)
"""


def reachable(root: object) -> Iterator[object]:
    """Every object that a plugin can get at from ``root`` without imports, frames or files."""
    seen: set[int] = set()
    stack = [root]
    while stack:
        found = stack.pop()
        if id(found) in seen or isinstance(found, type | ModuleType | str | bytes | int | float | None):
            continue
        seen.add(id(found))
        yield found
        stack.extend(parts(found))


def parts(found: Any) -> Iterator[object]:
    if isinstance(found, FunctionType):
        yield from (cell.cell_contents for cell in found.__closure__ or ())
        yield from (*(found.__defaults__ or ()), *(found.__kwdefaults__ or {}).values())
    elif isinstance(found, MethodType):
        yield found.__self__
    elif isinstance(found, dict):
        yield from (*found.keys(), *found.values())
    elif isinstance(found, list | tuple | set | frozenset):
        yield from found
    yield from getattr(found, "__dict__", {}).values()
    yield from (getattr(found, name) for name in getattr(type(found), "__slots__", ()) if hasattr(found, name))
    if hasattr(found, "func") and hasattr(found, "args"):
        yield from (found.func, found.args, found.keywords)


def shows(tensor: Tensor, truth: Tensor) -> bool:
    """Whether a truth stands in a tensor, whole or as one of its rows."""
    if tensor.dtype != truth.dtype or tensor.numel() < truth.numel() or tensor.shape[-truth.dim() :] != truth.shape:
        return False
    return bool((tensor.reshape(-1, truth.numel()) == truth.reshape(1, -1)).all(1).any())


@pytest.fixture
def spied(run: Runner, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """A run of a defence that composes its starts, and the module that listened."""
    (tmp_path / "spies.py").write_text(SPIES)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "spies", raising=False)
    folder = run(
        "a",
        "audit=null",
        "capture={every: 1, clients: 12}",
        "algorithm.clients_per_round=12",
        "defenses=[{name: largest, rate: 0.3, keep_local: true}, {name: 'spies:Sees'}]",
        "attacks=[{name: 'spies:Listens'}]",
        "data.public=5",
    )
    return folder, sys.modules["spies"]


def test_no_truth_can_be_reached_from_what_an_attack_is_given(spied: tuple[Path, Any]) -> None:
    folder, spies = spied
    found = list(reachable(spies.SEEN))
    assert sum(isinstance(o, Observation) for o in found) > 12 + 12 + 6
    tensors = [o for o in found if isinstance(o, Tensor)]
    assert len(tensors) > 50
    held = [type(o).__name__ for o in found if isinstance(o, HOLDERS)]
    assert held == []
    assert not [o for o in found if isinstance(o, Path) and "audit" in o.parts]
    truths = [load_file(path) for path in (folder / "audit").glob("*.safetensors")]
    starts = [truth["start"] for truth in truths if "start" in truth]
    assert starts
    secrets = [image for truth in truths for image in truth["images"]]
    secrets += [truth["labels"] for truth in truths if truth["labels"].numel() > 1]
    secrets += [*starts, *(shared for shared, _, _ in spies.SHARED.values())]
    assert not [1 for tensor in tensors for secret in secrets if shows(tensor, secret)]


def test_the_search_finds_what_is_hidden(spied: tuple[Path, Any]) -> None:
    secret = torch.rand(3, 4)

    def deep() -> Tensor:
        return secret

    (found,) = [o for o in reachable([{"a": (lambda: deep,)}]) if isinstance(o, Tensor)]
    assert shows(torch.cat([torch.zeros(2, 3, 4), found.unsqueeze(0)]), secret)
    assert not shows(torch.zeros(5, 3, 4), secret)


def test_the_mask_is_what_the_bytes_show(spied: tuple[Path, Any]) -> None:
    _, spies = spied
    chunks = [each[0] for each in spies.SEEN if isinstance(each, tuple)]
    defended = [seen for chunk in chunks for seen in chunk if seen.mask is not None]
    assert len(defended) == 2 * 12
    for seen in defended:
        shared, mask, weights = spies.SHARED[seen.round_idx, seen.client_ids[0]]
        recovered = compared(seen, "recovered", "broadcast")
        assert recovered is not None
        assert torch.equal(recovered, shared & mask & (weights != 0))


def test_equal_bytes_give_equal_observations_whoever_withheld_them() -> None:
    from priprune_plugins.messages import Upload
    from priprune_plugins.seen_upload import seen_by_server

    weights = torch.tensor([1.0, 2.0, 3.0])
    withheld = Upload((0,), 0, 1, weights, shared=torch.tensor([True, False, True]))
    zeroed = Upload((0,), 0, 1, torch.tensor([1.0, 0.0, 3.0]))
    one, other = seen_by_server(withheld), seen_by_server(zeroed)
    assert torch.equal(one.weights, other.weights) and one.shared is other.shared is None
