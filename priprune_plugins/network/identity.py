"""What two processes must agree on to be parts of one run, as digests that tell nothing else."""

import hashlib
import json
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

import priprune_plugins
from priprune_plugins.data.federation import FederatedImages
from priprune_plugins.run.assemble import Plugins
from priprune_plugins.run.environment import provenance
from priprune_plugins.scenario.options import resolved
from priprune_plugins.scenario.whole import Scenario

# What may rightly differ from one machine to the next; data.root is another.
_FREE = ("device", "checkpoint", "states", "network", "modules", "trackers")
_SHOWN = ("version", "torch")
_NEXT = {
    "version": "install the same version",
    "plugin": "install the same files",
    "data": "give both the same data",
    "model": "both must start from the same weights",
}


def identity(scenario: Scenario, plugins: Plugins, data: FederatedImages, model: nn.Module) -> dict[str, str]:
    """Return what must be equal, by name; ``torch`` is told too, and need not be.

    Args:
        scenario: The scenario.
        plugins: Its plugins; the hash of each one's file counts.
        data: Its data, of which every client's labels and first image count.
        model: Its initialised model.
    """
    document = resolved(scenario, plugins.instances())
    document["data"] = {key: value for key, value in document["data"].items() if key != "root"}
    hooked = [entry for entry in plugins.hooked if entry.kind != "trackers"]
    others = [("algorithm", plugins.algorithm), ("data", plugins.dataset), ("model", plugins.architecture)]
    return {
        "version": f"{priprune_plugins.__version__}, {sys.byteorder}-endian",
        "torch": torch.__version__,
        **{f"scenario {key}": _digest(document[key]) for key in sorted(document) if key not in _FREE},
        **{f"plugin {one['plugin']}": one["sha256"][:16] for one in provenance(hooked, others)},
        "data of the clients": _data(data),
        "model at its start": _model(model),
    }


def difference(server: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return why a process cannot be part of the server's run, in one line, or None where it can."""
    for name in dict.fromkeys((*server, *sorted(map(str, other)))):
        ours, theirs = server.get(name), other.get(name)
        if name == "torch" or ours == theirs:
            continue
        if name in _SHOWN:
            what = f"{name} is {ours} at the server and {str(theirs)[:60]} here"
        else:
            what = f"{name[:60]} is another than the server's"
        return f"{what}: {_NEXT.get(name.split()[0], 'give both the same scenario and the same --set')}"
    return None


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def _data(data: FederatedImages) -> str:
    digest = hashlib.sha256()
    for client_id in range(data.num_clients):
        images, labels = data.client(client_id, "train")
        digest.update(labels.cpu().numpy().tobytes())
        digest.update(images[:1].cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _model(model: nn.Module) -> str:
    digest = hashlib.sha256(repr([(n, tuple(p.shape)) for n, p in model.named_parameters()]).encode())
    for parameter in model.parameters():
        digest.update(parameter.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
