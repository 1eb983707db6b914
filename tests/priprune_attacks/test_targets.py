"""What an upload says about a gradient, by hand on five coordinates."""

from dataclasses import replace

import torch
from torch import Tensor, nn

from priprune_attacks.targets import Fill, MaskRule, literal_target, pseudo_gradient
from priprune_plugins import Facts, Observation
from priprune_plugins.layout import Layout

# Coordinates: trained, unchanged, withheld, pruned by the server, pruned by the server and dense there.
BROADCAST = torch.tensor([1.0, 2.0, 3.0, 0.0, 0.0])
DENSE = torch.tensor([1.0, 2.0, 3.0, 0.0, 5.0])
UPLOAD = torch.tensor([0.5, 2.0, 0.0, 0.0, 0.0])
KNOWN = torch.tensor([True, True, True, False, False])


def seen(mask: Tensor | None = KNOWN, local_steps: int = 1) -> Observation:
    model = nn.Linear(4, 1)
    facts = Facts(
        build_model=lambda: model,
        layout=Layout.of(model),
        image_shape=(1, 2, 2),
        num_classes=2,
        lr=0.5,
        batch_size=1,
        local_steps=local_steps,
        epochs=None,
        algorithm="fedavg",
        mean_image=torch.zeros(1, 2, 2),
    )
    return Observation(BROADCAST, DENSE, mask, UPLOAD, {}, {}, {}, 10, 0, (0,), facts)


def target_of(mask: MaskRule, fill: Fill = "broadcast") -> tuple[list[float], list[bool] | None]:
    target = pseudo_gradient(seen(), mask, fill)
    return target.gradient.tolist(), None if target.mask is None else target.mask.tolist()


def test_recovered_mask_leaves_absent_and_pruned_coordinates_out() -> None:
    assert target_of("recovered") == ([1.0, 0.0, 0.0, 0.0, 0.0], [True, True, False, False, False])


def test_zeros_fill_takes_a_withheld_coordinate_for_one_trained_to_zero() -> None:
    assert target_of("recovered", "zeros") == ([1.0, 0.0, 6.0, 0.0, 0.0], [True, True, True, False, False])


def test_known_mask_compares_withheld_coordinates_as_unchanged() -> None:
    assert target_of("known") == ([1.0, 0.0, 0.0, 0.0, 0.0], KNOWN.tolist())


def test_without_a_known_mask_the_recovered_one_comes_from_the_bytes_alone() -> None:
    target = pseudo_gradient(seen(mask=None))
    assert target.mask is not None
    assert target.mask.tolist() == [True, True, False, False, False]


def test_dense_reference_without_mask_takes_pruned_weights_for_gradient() -> None:
    target = pseudo_gradient(seen(), "none", "broadcast", "dense")
    assert target.gradient.tolist() == [1.0, 0.0, 0.0, 0.0, 10.0]
    assert target.mask is None
    assert target.point is DENSE


def test_several_local_steps_share_the_difference() -> None:
    assert pseudo_gradient(seen(local_steps=4)).gradient[0] == 0.25


def test_an_offset_under_a_pull_counts_as_much_as_the_pull_leaves_of_it() -> None:
    # Two steps of lr .5 under a pull of 1, which leaves .5 of the first: 1.5 of a step with gradient 1 and offset 2.
    observation = replace(seen(local_steps=2), offset=torch.full((5,), 2.0), upload=BROADCAST - 0.5 * 1.5 * (1.0 + 2.0))
    observation = replace(observation, facts=replace(observation.facts, proximal=1.0))
    assert pseudo_gradient(observation, "none").gradient[0] == 1.0 * 1.5 / 2
    assert pseudo_gradient(observation, "none", unroll=False).gradient[0] == 1.0


def test_literal_target_is_taken_at_the_upload_and_compared_everywhere() -> None:
    target = literal_target(seen())
    assert target.point is UPLOAD
    assert target.mask is None
    assert target.gradient.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
