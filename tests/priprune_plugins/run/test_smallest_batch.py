"""The smallest batch of a run, by hand."""

from pathlib import Path

import pytest
import torch

from priprune_plugins.run.smallest_batch import smallest_batch
from priprune_plugins.scenario import read_scenario

SENDS = ["attacks=[]", "audit=null", "algorithm.batch_size=10"]


@pytest.mark.parametrize(
    ("images", "steps", "expected"),
    [
        ((40, 30), None, 10),
        ((40, 33), None, 3),
        ((40, 33), 3, 10),  # three of ten, and the three that are left are not reached
        ((40, 33), 4, 3),
        ((40, 7), 1, 7),
    ],
)
def test_the_last_batch_of_a_pass_counts_where_it_is_reached(
    images: tuple[int, ...], steps: int | None, expected: int, scenario_file: Path
) -> None:
    clients = [torch.arange(count) for count in images]
    assert smallest_batch(read_scenario(scenario_file, SENDS), steps, clients)[0] == expected


@pytest.mark.parametrize(("audit", "expected"), [("{batch_size: 5}", 1), ("{rounds: []}", 10)])
def test_the_positive_control_of_attacked_rounds_is_one_image(audit: str, expected: int, scenario_file: Path) -> None:
    scenario = read_scenario(scenario_file, ["algorithm.batch_size=10", f"audit={audit}"])
    assert smallest_batch(scenario, 1, [torch.arange(40)])[0] == expected
