"""What a run was made with: versions, and a hash of every plugin's file."""

import hashlib
import inspect
import platform
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from pathlib import Path
from typing import Any

import torch

from priprune_plugins.plugins import Registered

_PACKAGES = ("priprune-plugins", "fedlab", "torch", "torchvision", "numpy", "pluggy", "safetensors")


def environment(device: torch.device) -> dict[str, Any]:
    """Return the versions of what the figures depend on."""
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def provenance(registered: Sequence[Registered], others: Sequence[tuple[str, object]]) -> list[dict[str, str]]:
    """Return where each plugin comes from: class, distribution, version, sha256 of its source file."""
    named = [(entry.key, entry.plugin) for entry in registered]
    return [{"plugin": key, **_origin(type(plugin))} for key, plugin in (*named, *others)]


def _origin(cls: type) -> dict[str, str]:
    top = cls.__module__.partition(".")[0]
    found = distributions().get(top, [])
    source = inspect.getsourcefile(cls)
    digest = hashlib.sha256(Path(source).read_bytes()).hexdigest() if source else "no source file"
    return {
        "class": f"{cls.__module__}:{cls.__qualname__}",
        "distribution": found[0] if found else "not installed",
        "version": _version(found[0]) if found else "none",
        "sha256": digest,
    }


@cache
def distributions() -> Mapping[str, list[str]]:
    """Return the installed distributions by top-level package; reading them all takes longer than a short run."""
    return packages_distributions()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
