"""Where a run computes."""

import re

import torch

from priprune_plugins.errors import ScenarioError


def resolved_device(name: str) -> torch.device:
    """Return the device that a scenario names: ``auto``, ``cpu``, ``cuda`` or ``cuda:n``.

    Raises:
        ScenarioError: Another name, or a GPU that is not there.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise ScenarioError(f"device must be auto, cpu, cuda or cuda:n, got {name!r}")
    device = torch.device(name)
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ScenarioError(f"device {name!r} is not there: torch sees {count} CUDA devices; give device: cpu or auto")
    return device
