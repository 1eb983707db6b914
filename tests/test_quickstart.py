"""The README's first command, as a user runs it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.end_to_end
def test_the_quickstart_shows_a_leak_within_three_minutes(tmp_path: Path) -> None:
    program = [sys.executable, "-m", "priprune_plugins.cli"]
    started = time.monotonic()
    ran = subprocess.run(
        [*program, "run", "configs/quickstart.yaml", "--out", str(tmp_path / "run")],
        cwd=ROOT,
        env=os.environ,
        capture_output=True,
        text=True,
        check=False,
    )
    seconds = time.monotonic() - started
    assert ran.returncode == 0, ran.stderr
    assert seconds < 180
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["accuracy"] > 0.8
    assert summary["attacks"]["sgi"]["positive_control"]["passed"]
    assert summary["attacks"]["gi"]["positive_control"]["passed"]
    first = summary["attacks"]["sgi"]["by_round"]["0"]
    # Young PriPrune withholds nothing yet: one image through random pruning is an open book to SGI, not to GI.
    assert first["psnr_db"] > 17
    assert summary["attacks"]["gi"]["by_round"]["0"]["psnr_db"] < first["psnr_db"] - 6
    assert (tmp_path / "run" / "report.html").stat().st_size > 50_000
    assert "accuracy" in ran.stdout
