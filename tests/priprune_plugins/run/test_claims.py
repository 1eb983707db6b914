"""What defences add to the rounds' records reaches summary.json and the report."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Runner = Callable[..., Path]
QUICK = ("attacks=[]", "audit=null")


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def test_the_last_value_of_every_entry_of_a_strangers_defence_is_its_claim(run: Runner, tmp_path: Path) -> None:
    (tmp_path / "shield.py").write_text(
        "from dataclasses import dataclass\n"
        "from priprune_plugins import hookimpl\n"
        "@dataclass(frozen=True, eq=False)\n"
        "class Shield:\n"
        "    withholds_openly = False\n"
        "    @hookimpl\n"
        "    def on_round_end(self, server, record):\n"
        "        record['accuracy'] = record['accuracy']\n"
        "        if server.round_idx == 0:\n"
        "            record['early'] = 7\n"
        "        record['shield'] = {'rounds': server.round_idx, 'rounds_assumes': '<none>'}\n"
    )
    folder = run("a", "defenses=[{name: 'shield:Shield'}]", *QUICK)
    assert summary(folder)["claims"] == {"early": 7, "shield": {"rounds": 1, "rounds_assumes": "<none>"}}
    assert summary(folder)["warnings"] == []
    page = (folder / "report.html").read_text()
    assert "What the defences claim" in page and "&lt;none&gt;" in page


def test_a_release_that_hides_its_mask_claims_its_rate_and_is_not_taken_for_forgetful(run: Runner) -> None:
    hidden = summary(run("a", "defenses=[{name: release, gap: 1}]", *QUICK))
    assert hidden["withheld_rate"] == 0 and hidden["claims"]["release"]["rate"] > 0.5
    assert set(hidden["claims"]["release"]) == {"rate", "mixed_mean", "mixed_min", "poorest_client"}
    assert not any("withheld no coordinate" in warning for warning in hidden["warnings"])


def test_both_epsilons_of_dp_stand_with_what_they_assume(run: Runner) -> None:
    pytest.importorskip("dp_accounting")
    folder = run("a", "defenses=[{name: dp}]", *QUICK)
    claim = summary(folder)["claims"]["dp"]
    assert claim["epsilon_server"] > 1 and claim["epsilon_central"] is None
    page = (folder / "report.html").read_text()
    assert claim["epsilon_server_assumes"] in page and "needs secagg" in page
