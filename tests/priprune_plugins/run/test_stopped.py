"""How a run stands that was stopped: said at once, however large its states are."""

from pathlib import Path

import pytest
import torch

from priprune_plugins.checkpoint.checkpoints import Checkpoints, Manifest
from priprune_plugins.run.stopped import standing


@pytest.mark.parametrize(
    ("manifests", "said"),
    [
        ((), "there is no checkpoint yet; to go on: priprune run "),
        ((Manifest(10, "training"), Manifest(20, "training")), "20 rounds are in the last checkpoint; to go on: "),
        ((Manifest(20, "training"), Manifest(20, "trained")), "the training is done; to go on: "),
        ((Manifest(20, "training", forgotten=True),), "20 rounds are in the last checkpoint, which cannot be gone on "),
    ],
)
def test_the_manifest_alone_says_it_and_no_state_is_read(
    manifests: tuple[Manifest, ...], said: str, tmp_path: Path
) -> None:
    assert standing(tmp_path, "priprune run") == "nothing was computed yet"
    (tmp_path / "scenario.yaml").touch()
    checkpoints = Checkpoints(tmp_path / "checkpoint", 2)
    for manifest in manifests:
        checkpoints.write(manifest, {"weights": torch.zeros(3)})
    for path in tmp_path.rglob("state.safetensors"):
        path.unlink()
    assert standing(tmp_path, "priprune run").startswith(said)
