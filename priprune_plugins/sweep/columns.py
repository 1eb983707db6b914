"""The columns of a sweep's results: what a line is about, the figures of its run, those of its attack.

Importing this module does not import torch.
"""

from collections.abc import Mapping
from typing import Any

from priprune_plugins.sweep.axes import brief

SEED = "seed"
ATTACK = "attack"
FACTS = ("pruner", "defenses", ATTACK)
OF_RUN = (
    "accuracy",
    "client_accuracy",
    "density",
    "withheld_rate",
    "gradient_mass_withheld",
    "parameters",
    "bytes_up",
    "bytes_down",
    "dropped",
    "seconds",
)
# Figures that mean nothing where the attack's positive control failed.
PRIVACY = (
    "nmi",
    "psnr_db",
    "ssim",
    "mse",
    "attack_loss",
    "label_accuracy",
    "kl",
    "min_entropy",
    "median_rank",
    "top1_share",
)
OF_ATTACK = ("victims", "failed", "nmi_levels", *PRIVACY, "candidates")
ABOUT_UPLOADS = ("withheld_rate", "gradient_mass_withheld")
_FLOORS = ("best_floor_psnr_db", "best_floor_nmi", "control_psnr_db")
MEASURES = (*OF_RUN, *OF_ATTACK, *(f"attacked_{figure}" for figure in ABOUT_UPLOADS), *_FLOORS)

# Per round: of rounds.jsonl, of timing.jsonl, of privacy.jsonl.
OF_ROUND = (
    "loss",
    "accuracy",
    "test_loss",
    "density",
    "mask_change",
    "withheld_rate",
    "gradient_mass_withheld",
    "bytes_up",
    "bytes_down",
    "dropped",
)
OF_ROUND_TIMING = ("seconds",)
OF_ROUND_PRIVACY = tuple(figure for figure in PRIVACY if figure not in ("median_rank", "top1_share"))
ROUND_MEASURES = (*OF_ROUND, *OF_ROUND_TIMING, *OF_ROUND_PRIVACY)


def identity(document: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a cell is in columns: its pruner and defences in few words, and the value of every axis.

    Args:
        document: The resolved scenario.
        values: The column of each axis at the cell's point, by path; wins where an axis is the pruner itself.
    """
    return {"pruner": brief(document["pruner"]), "defenses": brief(document["defenses"]), **values}


def of_attack(measure: str) -> bool:
    """Whether a measure belongs to an attack on a cell, and not to the cell's training."""
    return measure in (*MEASURES, *OF_ROUND_PRIVACY) and measure not in OF_RUN
