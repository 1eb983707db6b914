"""A run folder made of real digits; a reconstruction is the truth with noise."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import Tensor

from priprune_plugins.messages import LabelledSet, Reconstruction
from priprune_plugins.privacy.floors import floors
from priprune_plugins.privacy.measures import measure
from priprune_plugins.privacy.summary import summarise

ROUNDS = 40
ATTACKED = (0, 13, 26, 39)
NOISE = {"sgi": 0.12, "gi": 0.9}
SCENARIO: dict[str, Any] = {
    "name": "digits-random-largest",
    "seed": 1,
    "rounds": ROUNDS,
    "data": {"name": "digits", "clients": 60, "partition": "dirichlet"},
    "model": {"name": "small14", "init": "he"},
    "algorithm": {"name": "fedavg", "clients_per_round": 10, "batch_size": 20, "lr": 0.1},
    "pruner": {"name": "random", "rate": 0.3},
    "defenses": [{"name": "largest", "rate": 0.3}],
    "attacks": [{"name": "sgi"}, {"name": "gi"}],
}


class RunMaker:
    """Writes the files of a run folder one by one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        digits = load_digits()
        images = torch.tensor(digits.images, dtype=torch.float32).unsqueeze(1) / 16
        self.pool = LabelledSet(images[:300], torch.tensor(digits.target[:300]))
        self.images = torch.nn.functional.interpolate(images, size=(28, 28), mode="bilinear")
        self.pool = LabelledSet(self.images[:300], self.pool.labels)
        self.labels = torch.tensor(digits.target)
        self.stream = torch.Generator().manual_seed(0)

    def write(self, scenario: dict[str, Any] = SCENARIO, control_noise: dict[str, float] | None = None) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "scenario.yaml").write_text(yaml.safe_dump(scenario, sort_keys=False), encoding="utf-8")
        rounds = [self._round(number) for number in range(ROUNDS)]
        self._lines("rounds.jsonl", rounds)
        timing = [{"round": n, "seconds": 0.3 + 0.01 * (n % 7), "peak_rss_bytes": 4 * 10**8} for n in range(ROUNDS)]
        self._lines("timing.jsonl", timing)
        privacy = [line for name in NOISE for line in self._attack(name, (control_noise or {}).get(name, 0.05))]
        self._lines("privacy.jsonl", privacy)
        self._json("summary.json", self._summary(str(scenario["name"]), rounds, privacy))
        self._json("environment.json", {"environment": {"python": "3.11.2", "packages": {"torch": "2.9.0"}}})
        return self.folder

    def _round(self, number: int) -> dict[str, Any]:
        tested = number % 3 == 0 or number == ROUNDS - 1
        return {
            "round": number,
            "loss": 2.4 * 0.94**number,
            "accuracy": 0.93 - 0.83 * 0.9**number if tested else None,
            "test_loss": 2.3 * 0.95**number + 0.1 if tested else None,
            "density": 1.0 if number < 5 else 0.7,
            "layer_density": [1.0, 1.0, 1.0] if number < 5 else [0.9, 0.6, 0.7],
            "mask_change": 0.3 if number == 5 else 0.0,
            "extras": {"dc": 3000, **({"squares": 2048} if number % 10 == 9 else {})},
            "withheld_rate": 0.3 - 0.002 * (number % 5),
            "gradient_mass_withheld": 0.71 + 0.003 * (number % 4),
            "bytes_up": 2_400_000 - 20_000 * (number > 4),
            "bytes_down": 3_400_000,
            "clients": [3, 7],
            "dropped": 0,
            "mask_changed": number in (0, 5),
        }

    def _attack(self, name: str, control_noise: float) -> list[dict[str, Any]]:
        victims = [
            self._victim(name, n, "audit", c, NOISE[name] * (0.7 + 0.3 * i))
            for i, n in enumerate(ATTACKED)
            for c in (3, 7, 9)
        ]
        controls = [self._victim(name, n, "control", c, control_noise) for n in ATTACKED for c in range(3)]
        return victims + controls

    def _victim(self, name: str, number: int, group: str, client: int, noise: float) -> dict[str, Any]:
        key = f"r{number:06d}_control{client}" if group == "control" else f"r{number:06d}_c{client:05d}"
        index = 400 + 10 * number + client
        truth, label = self.images[index : index + 1], self.labels[index : index + 1]
        guess = (truth + noise * torch.randn(truth.shape, generator=self.stream)).clamp(0, 1)
        failed = "the loss diverged" if (name, number, client) == ("gi", 0, 9) else None
        self._save(f"audit/{key}", {"images": truth, "labels": label})
        self._save(f"reconstructions/{name}/{key}", {"images": guess / 0 if failed else guess, "trace": torch.ones(3)})
        got = measure(truth, label, Reconstruction(guess, label, 0.01, torch.ones(3), failed))
        figures = ("nmi", "nmi_levels", "psnr_db", "ssim", "mse", "label_accuracy", "kl", "min_entropy", "failed")
        return {
            "attack": name,
            "key": key,
            "round": number,
            "client": client,
            "group": group,
            "batch_size": 1,
            "attack_loss": None if failed else 0.01,
            "rank": None,
            **{figure: getattr(got, figure) for figure in figures},
            "floors": floors(truth, label, self.pool.images.mean(0), self.pool, self.stream),
        }

    def _summary(self, name: str, rounds: list[dict[str, Any]], privacy: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "name": name,
            "accuracy": rounds[-1]["accuracy"],
            "client_accuracy": 0.88,
            "rounds": ROUNDS,
            "clients": 60,
            "parameters": 78_478,
            "density": 0.7,
            "prunable_layers": ["conv1.weight", "conv2.weight", "fc1.weight"],
            "setup_bytes_up": 4096,
            "setup_extras": {"snip_scores": 4096},
            "withheld_rate": 0.298,
            "gradient_mass_withheld": 0.713,
            "bytes_up": sum(line["bytes_up"] for line in rounds),
            "bytes_down": sum(line["bytes_down"] for line in rounds),
            "seconds": 84.2,
            "warnings": ["2 uploads were not captured: capture.max_gib is used up"],
            "device": "cpu",
            "attacks": summarise(privacy),
        }

    def _save(self, name: str, tensors: dict[str, Tensor]) -> None:
        path = self.folder / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)

    def _lines(self, name: str, records: list[dict[str, Any]]) -> None:
        text = "".join(json.dumps(record) + "\n" for record in records)
        (self.folder / name).write_text(text, encoding="utf-8")

    def _json(self, name: str, value: dict[str, Any]) -> None:
        (self.folder / name).write_text(json.dumps(value), encoding="utf-8")


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder; its arguments are those of ``RunMaker.write``."""
    return RunMaker(tmp_path / "run").write
