"""The report as a browser draws it, where headless Chromium is installed."""

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from priprune_plugins.report import write_report

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
MEASURE = "<script>document.title=document.getElementById('f').contentDocument.documentElement.scrollWidth</script>"


def chromium(tmp_path: Path, *arguments: str) -> str:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium here: apt-get install chromium")
    command = [program, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def test_a_browser_draws_the_page_with_its_pictures(make_run: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(make_run())
    shot = tmp_path / "shot.png"
    chromium(tmp_path, f"--screenshot={shot}", "--window-size=1280,2400", page.as_uri())
    drawn = Image.open(shot).convert("RGB")
    assert drawn.size == (1280, 2400)
    # The digits' black, the border of the verdict and the green of a passed control: pictures, style and badges.
    colours = {colour for _, colour in drawn.getcolors(maxcolors=2**24) or []}
    assert {(0, 0, 0), (11, 98, 164), (27, 110, 75)} <= colours


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_screen(make_run: Callable[..., Path], tmp_path: Path, width: int) -> None:
    page = write_report(make_run(control_noise={"gi": 0.9}))
    frame = page.with_name("frame.html")
    inner = f"<iframe id=f src={page.name} style='width:{width}px;height:800px;border:0'></iframe>"
    measure = MEASURE.replace("<script>", "<script>onload=()=>{").replace("</script>", "}</script>")
    frame.write_text(f"<!doctype html><title>0</title>{inner}{measure}")
    document = chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", frame.as_uri())
    assert f"<title>{width}</title>" in document
