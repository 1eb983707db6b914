"""Schedules against closed forms."""

import numpy as np
import pytest

from priprune_pruners.schedules import cosine_decay, density_at, event_rate


def test_events_take_a_fifth_of_the_survivors_and_stop_at_the_rate() -> None:
    kept, history = 1000, []
    while share := event_rate(kept, 1000, 0.5, 0.2):
        kept -= round(share * kept)
        history.append(kept)
    assert history == [800, 640, 512, 500]


def test_density_paths_end_at_the_density() -> None:
    assert [density_at(i, 2, 0.75) for i in (0, 1, 2)] == [1.0, 0.5, 0.25]
    assert [density_at(i, 2, 0.75, "linear") for i in (0, 1, 2)] == [1.0, 0.625, 0.25]


def test_cosine_equals_that_of_bibikar_feddst(oracle) -> None:
    data = oracle("feddst")
    alpha, end = float(data["schedule/alpha"]), int(data["schedule/T_end"])
    ours = [cosine_decay(int(t), alpha, end) for t in data["schedule/t"]]
    assert ours == pytest.approx(data["schedule/paper_alpha_t"].tolist(), abs=1e-15)
    assert np.array(ours) * alpha == pytest.approx(data["schedule/official_gate"], abs=1e-15)
