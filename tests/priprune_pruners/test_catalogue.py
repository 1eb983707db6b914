"""The contract that every pruner of the catalogue keeps."""

import dataclasses
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from priprune_pruners.feddst import FedDST
from priprune_pruners.grasp import GraSP
from priprune_pruners.lotteryfl import LotteryFL
from priprune_pruners.magnitude import Magnitude
from priprune_pruners.prunefl import PruneFL
from priprune_pruners.random import Random
from priprune_pruners.snip import Snip
from priprune_pruners.synflow import SynFlow

QUICK = {"every": 2, "initial_passes": 3, "initial_every": 1}
PRUNERS: dict[str, Callable[..., Any]] = {
    "feddst": lambda rate: FedDST(rate=rate, every=2, until=5),
    "feddst_official": lambda rate: FedDST(rate=rate, every=2, until=5, compat="feddst"),
    "grasp_public": lambda rate: GraSP(rate=rate),
    "grasp_clients": lambda rate: GraSP(rate=rate, source="clients"),
    "lotteryfl": lambda rate: LotteryFL(rate=rate, fraction=0.7),
    "magnitude": lambda rate: Magnitude(rate=rate),
    "magnitude_iterative": lambda rate: Magnitude(rate=rate, schedule="iterative", fraction=0.7, every=1),
    "magnitude_rewind": lambda rate: Magnitude(rate=rate, schedule="iterative", fraction=0.7, every=1, rewind=True),
    "prunefl": lambda rate: PruneFL(rate=rate, **QUICK),
    "prunefl_ratio": lambda rate: PruneFL(rate=rate, stop="ratio", **QUICK),
    "random": lambda rate: Random(rate=rate),
    "random_iterative": lambda rate: Random(rate=rate, iterative=0.7, every=1),
    "random_resample": lambda rate: Random(rate=rate, resample=True),
    "snip_public": lambda rate: Snip(rate=rate),
    "snip_client": lambda rate: Snip(rate=rate, source="client"),
    "synflow": lambda rate: SynFlow(rate=rate),
}
ROUNDS = 5
everyone = pytest.mark.parametrize("name", PRUNERS)
rates = pytest.mark.parametrize("rate", [0.0, 0.3, 0.9])


@pytest.fixture
def make(federation, net, public):
    return lambda name, rate, **options: federation(PRUNERS[name](rate), net, public=public, **options)


def pruned(run) -> list[torch.Tensor]:
    """What is pruned at the server, or at each client where masks are personal."""
    masks = list(run.masks.values()) if run.server.mask is None else [run.server.mask]
    return [~mask for mask in masks]


def promised(name: str, rate: float, run) -> tuple[int, int]:
    """Fewest and most weights that may be pruned."""
    sizes = [n for n, prunable in zip(run.layout.sizes, run.layout.prunable_layers, strict=True) if prunable]
    asked = round(rate * sum(sizes))
    if name == "lotteryfl":
        asked = sum(round(rate * n) for n in sizes)
    if name == "feddst_official":
        return 0, sum(sizes) - 1
    return asked, sum(sizes) - 1 if name == "prunefl_ratio" else asked


@everyone
@rates
def test_promised_count_goes_and_biases_and_norms_stay(make, name: str, rate: float) -> None:
    run = make(name, rate).setup_round().run(ROUNDS)
    fewest, most = promised(name, rate, run)
    for gone in pruned(run):
        assert fewest <= int(gone.sum()) <= most
        assert not bool((gone & ~run.layout.prunable).any())


@everyone
def test_pruned_coordinates_are_zero_in_broadcasts_and_uploads(make, name: str) -> None:
    run = make(name, 0.3).setup_round().run(3)
    mask = run.server.mask
    client = run.client(0, 3)
    if mask is not None:
        assert bool((client.received[~mask] == 0).all())
    run.round()
    for upload, held in zip(run.uploads[-3:], run.masks.values(), strict=True):
        assert bool((upload.weights[~held] == 0).all())


@everyone
def test_same_seed_gives_the_same_bits(make, name: str) -> None:
    first, second = (make(name, 0.3).setup_round().run(ROUNDS) for _ in range(2))
    assert torch.equal(first.server.weights, second.server.weights)
    assert all(torch.equal(a, b) for a, b in zip(pruned(first), pruned(second), strict=True))


@everyone
def test_resume_goes_on_from_state_alone(make, name: str) -> None:
    whole = make(name, 0.3).setup_round().run(ROUNDS)
    half = make(name, 0.3).setup_round().run(2).resumed()
    half.run(ROUNDS - 2)
    assert torch.equal(whole.server.weights, half.server.weights)
    assert all(torch.equal(a, b) for a, b in zip(pruned(whole), pruned(half), strict=True))


@everyone
def test_global_generators_are_left_alone(make, name: str, untouched) -> None:
    make(name, 0.3).setup_round().run(2)


@everyone
def test_gradients_and_modes_are_left_alone(make, name: str) -> None:
    run = make(name, 0.3).setup_round().run(2)
    client = run.client(0, 2)
    client.model[1].eval()
    modes = [module.training for module in client.model.modules()]
    run.call("on_setup_round", client)
    run.train(client)
    assert [module.training for module in client.model.modules()] == modes
    assert all(parameter.grad is None for parameter in client.model.parameters())


@everyone
def test_state_holds_tensors_numbers_and_strings_only(make, name: str) -> None:
    run = make(name, 0.3).setup_round().run(3)
    values = [value for state in run.states.values() for value in state.values()]
    assert all(isinstance(value, (torch.Tensor, int, float, str)) for value in values)


@everyone
def test_table_of_the_paper_can_be_drawn(name: str) -> None:
    pruner = PRUNERS[name](0.3)
    assert pruner.criterion and pruner.cycle
    assert set(pruner.sides) <= {"server", "client"}


def test_every_entry_point_is_in_this_suite() -> None:
    root = Path(__file__).resolve().parents[2]
    declared = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["priprune.pruners"]
    classes = {f"{type(make(0.3)).__module__}:{type(make(0.3)).__name__}" for make in PRUNERS.values()}
    assert set(declared.values()) == classes


@everyone
def test_readme_names_every_option(name: str) -> None:
    readme = (Path(__file__).resolve().parents[2] / "pruners" / "README.md").read_text()
    options = {option.name for option in dataclasses.fields(PRUNERS[name](0.3))}
    assert {option for option in options if f"`{option}" not in readme} == set()


@everyone
def test_options_validate_from_yaml_values(name: str) -> None:
    pruner = type(PRUNERS[name](0.3))
    made = TypeAdapter(pruner).validate_python({"rate": 0.5})

    assert made.rate == 0.5
    with pytest.raises(ValidationError):
        TypeAdapter(pruner).validate_python({"rate": 1.0})


def test_times_come_as_a_list_or_a_word() -> None:
    adapter = TypeAdapter(PruneFL)
    assert adapter.validate_python({"seconds": [1, 2.5]}).seconds == (1.0, 2.5)
    assert adapter.validate_python({"seconds": "measured"}).seconds == "measured"
    with pytest.raises(ValidationError):
        adapter.validate_python({"seconds": "guessed"})
