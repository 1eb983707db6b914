import numpy as np
import pytest

from priprune_plugins.order_statistic import kth_lowest_value

DRAWS = np.random.default_rng(0).standard_normal(400_000).astype(np.float32)
CASES = {
    "normal": DRAWS,
    "few values": np.round(DRAWS),
    "one value": np.zeros_like(DRAWS),
    "sorted": np.sort(DRAWS),
    "a third infinite": np.where(DRAWS > 0.4, np.float32(np.inf), DRAWS),
    "a few": DRAWS[:1000],
    "double": DRAWS.astype(np.float64),
    "what the sample misses": np.where(np.arange(DRAWS.size) % (DRAWS.size // 2**14 | 1) == 0, DRAWS, DRAWS + 9),
}


@pytest.mark.parametrize("name", CASES)
def test_it_is_the_value_at_its_place_in_order(name: str) -> None:
    values = CASES[name]
    before, order = values.copy(), np.sort(values)
    for count in (1, 2, 300, values.size // 3, values.size - 1, values.size):
        assert kth_lowest_value(values, count) == order[count - 1]
    assert np.array_equal(values, before)
