"""PruneFL's reconfiguration against jiangyuang/PruneFL and against the greedy loop written out."""

import pytest
import torch

from priprune_plugins.layout import Layout
from priprune_pruners.reconfiguration import reconfigured, survivors

NAMES = [f"{layer}.{kind}" for layer in ("conv1", "conv2", "fc1", "fc2") for kind in ("weight", "bias")]


@pytest.fixture(params=["free", "capped", "keep_all_cheap"])
def case(request, oracle):
    data = oracle("prunefl_reconfig")
    name = request.param
    shapes = tuple(torch.Size(data[f"{name}/in_sqgrad/{n}"].shape) for n in NAMES)
    layout = Layout(tuple(NAMES), shapes, tuple(n.endswith("weight") for n in NAMES))

    def flat(key: str) -> torch.Tensor:
        parts = [
            torch.from_numpy(data[f"{name}/{key}/{n[:-7]}"]).reshape(-1) if n.endswith("weight") else torch.ones(s)
            for n, s in zip(NAMES, shapes, strict=True)
        ]  # fmt: skip
        return torch.cat([part.float() for part in parts])

    importance = torch.cat([torch.from_numpy(data[f"{name}/in_sqgrad/{n}"]).reshape(-1) for n in NAMES])
    seconds = torch.zeros(len(NAMES), dtype=torch.float64)
    seconds[::2] = torch.from_numpy(data[f"{name}/time_per_param"])
    number = lambda key: float(data[f"{name}/{key}"])  # noqa: E731
    return layout, flat, importance, seconds, number


def test_masks_equal_the_official_ones(case) -> None:
    layout, flat, importance, seconds, number = case
    stays = survivors(flat("in_weight"), flat("in_mask").bool(), layout, number("max_dec_fraction"))
    density, total = number("max_density"), int(layout.prunable.sum())
    # The official loop tests its bound before adding, so that one more than the bound gets in.
    most = None if density < 0 else int(total * density) + 1
    mask = reconfigured(stays, importance, seconds, number("time_const"), layout, most)
    assert torch.equal(mask, flat("out_mask").bool())


def greedy(stays, gain, times, constant, candidates) -> set[int]:
    total, spent = float(gain[stays].sum()), constant + float(times[stays].sum())
    chosen = set()
    for j in sorted(candidates, key=lambda j: -gain[j] / times[j]):
        if gain[j] / times[j] <= total / spent:
            break
        chosen.add(j)
        total, spent = total + float(gain[j]), spent + float(times[j])
    return chosen


@pytest.mark.parametrize("constant", [0.1, 1.0, 10.0, 100.0])
def test_fixed_point_equals_the_greedy_loop(constant: float) -> None:
    stream = torch.Generator().manual_seed(3)
    layout = Layout(("a.weight", "b.weight"), (torch.Size([40]), torch.Size([60])), (True, True))
    gain = torch.rand(100, generator=stream, dtype=torch.float64) ** 4
    stays = torch.rand(100, generator=stream) < 0.2
    seconds = torch.tensor([0.1, 0.3], dtype=torch.float64)
    mask = reconfigured(stays, gain, seconds, constant, layout)
    candidates = torch.nonzero(~stays).flatten().tolist()
    expected = greedy(stays, gain, layout.spread(seconds), constant, candidates)
    assert set(torch.nonzero(mask & ~stays).flatten().tolist()) == expected


def test_bound_takes_the_best_ratios_and_fill_goes_on_to_it() -> None:
    layout = Layout(("a.weight", "a.bias"), (torch.Size([5]), torch.Size([1])), (True, False))
    stays = torch.tensor([True, False, False, False, False, False])
    gain = torch.tensor([1.0, 4.0, 3.0, 2.5, 0.01, 0.0])
    seconds = torch.tensor([1.0, 0.0], dtype=torch.float64)
    choose = lambda most, fill: reconfigured(stays, gain, seconds, 1.0, layout, most, fill)[:5].tolist()  # noqa: E731
    assert choose(None, False) == [True, True, True, True, False]
    assert choose(3, False) == [True, True, True, False, False]
    assert choose(5, False) == choose(None, False)
    assert choose(5, True) == [True] * 5


def test_survivors_lose_the_decrease_in_every_layer() -> None:
    layout = Layout(("a.weight", "b.weight"), (torch.Size([4]), torch.Size([4])), (True, True))
    weights = torch.tensor([1.0, -2.0, 3.0, -4.0, 8.0, 7.0, 6.0, 5.0])
    mask = torch.tensor([True, True, True, True, True, True, True, False])
    assert survivors(weights, mask, layout, 0.5).tolist() == [False, False, True, True, True, True, False, False]
