"""Which layers leak, where ``layers.jsonl`` is there: means over the attacked uploads, the most telling layer first."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from priprune_plugins.report.run_files import RunFiles, json_lines


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Args:
        name: Of its parameter tensor.
        mass_shown: Share of its gradient's L1 norm that the uploads showed.
        cosine: Of the pseudo-gradient that the server can form with the true gradient.
    """

    name: str
    mass_shown: float
    cosine: float


def layer_rows(run: RunFiles) -> list[LayerRow]:
    """Return one row per layer that has a gradient; nothing where no upload of one client was attacked.

    Args:
        run: The run folder's files.
    """
    found: dict[str, list[Mapping[str, Any]]] = {}
    for line in json_lines(run.folder / "layers.jsonl", run.notes, ("key", "layers")):
        for layer in line["layers"]:
            if layer.get("mass_shown") is not None and layer.get("cosine") is not None:
                found.setdefault(str(layer["name"]), []).append(layer)
    rows = [
        LayerRow(name, fmean(layer["mass_shown"] for layer in own), fmean(layer["cosine"] for layer in own))
        for name, own in found.items()
    ]
    return sorted(rows, key=lambda row: -row.cosine)
