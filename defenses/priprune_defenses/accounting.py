"""What Gaussian noise promises after so many uploads, by dp-accounting's moments.

Reference: Mironov, "Rényi Differential Privacy", CSF 2017, arXiv:1702.07476; with sampling: Mironov, Talwar, Zhang,
"Rényi Differential Privacy of the Sampled Gaussian Mechanism", 2019, arXiv:1908.10530.
"""

from functools import cache
from types import ModuleType
from typing import Any

from priprune_plugins.errors import missing_extra


@cache
def epsilon(noise: float, delta: float, uploads: int, sampled: float | None = None) -> float:
    """Return epsilon after ``uploads`` Gaussian mechanisms.

    Args:
        noise: Deviation of the noise over the clipping norm.
        delta: In (0, 1).
        uploads: How many.
        sampled: Probability of each to happen at all, independently of the others and unknown to whoever looks (Poisson
            sampling); None = it is known that all of them happened.
    """
    if uploads == 0:
        return 0.0
    library = library_or_refusal()
    event = library.GaussianDpEvent(noise)
    event = event if sampled is None else library.PoissonSampledDpEvent(sampled, event)
    accountant: Any = library.rdp.RdpAccountant()
    return float(accountant.compose(event, uploads).get_epsilon(delta))


def library_or_refusal() -> ModuleType:
    """Return dp-accounting, which is imported only where it is used.

    Raises:
        ScenarioError: It is not installed.
    """
    try:
        import dp_accounting
        import dp_accounting.rdp
    except ImportError as error:
        raise missing_extra("defense dp", "the package dp-accounting", "dp") from error
    library: ModuleType = dp_accounting
    return library
