import json
from pathlib import Path

from priprune_plugins.trackers.scalars import attack_scalars, round_scalars


def test_a_record_gives_its_finite_numbers_and_its_layers_by_name() -> None:
    record = {
        "round": 3,
        "loss": 1.5,
        "accuracy": None,
        "test_loss": float("nan"),
        "mask_changed": True,
        "clients": [4, 7],
        "layer_density": [0.5, 1.0],
        "extras": {"dc": 12},
        "note": "text",
    }
    assert round_scalars(record, ["conv", "fc"]) == {
        "round": 3.0,
        "loss": 1.5,
        "mask_changed": 1.0,
        "layer_density/conv": 0.5,
        "layer_density/fc": 1.0,
        "extras/dc": 12.0,
    }


def test_an_attack_is_given_beside_its_floor_and_only_where_its_control_passed(tmp_path: Path) -> None:
    figures = {
        "nmi": 0.4,
        "psnr_db": 20.0,
        "ssim": None,
        "floors": {"black": {"psnr_db": 9.0}, "mean": {"psnr_db": 12.0}},
    }
    attacks = {
        "sgi": {**figures, "positive_control": {"passed": True}},
        "gi": {**figures, "positive_control": {"passed": False}},
    }
    (tmp_path / "summary.json").write_text(json.dumps({"attacks": attacks}))
    assert attack_scalars(tmp_path) == {
        "attack/sgi/control_passed": 1.0,
        "attack/sgi/nmi": 0.4,
        "attack/sgi/psnr_db": 20.0,
        "attack/sgi/best_floor_psnr_db": 12.0,
        "attack/gi/control_passed": 0.0,
    }
