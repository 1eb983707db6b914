"""The report as a browser draws it, where headless Chromium is installed."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from priprune_plugins.report import write_report
from priprune_plugins.report.sweep_page import write_sweep_report

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


@pytest.fixture
def sweep_page(tmp_path: Path) -> Path:
    """A sweep's report with long names, a figure of each kind of mark, and names of places."""
    folder = tmp_path / "sweep"
    folder.mkdir()
    rates, defenses = (0.1, 0.5, 0.9), ("none", "priprune(mode=adaptive theta=1.3)")
    cells = [(rate, defense) for rate in rates for defense in defenses]
    axes = {"pruner.rate": [str(rate) for rate in rates], "defenses": list(defenses)}
    figures = [
        {"title": "Line", "x": "pruner.rate", "y": "nmi", "series": "defenses"},
        {"title": "Bars", "x": "defenses", "y": "psnr_db", "series": "pruner.rate", "kind": "bar"},
        {"title": "Markers", "x": "accuracy", "y": "nmi", "series": "defenses", "kind": "scatter"},
    ]
    points = [
        {"cell": f"c{i}", "key": f"k{i}", "label": f"rate={rate} {defense}",
         "labels": {"pruner.rate": str(rate), "defenses": defense}}
        for i, (rate, defense) in enumerate(cells)
    ]  # fmt: skip
    plan = {"name": "a-sweep", "axes": axes, "short": {"pruner.rate": "rate", "defenses": "defenses"}}
    (folder / "sweep.json").write_text(json.dumps({**plan, "points": points, "figures": figures}))
    rows = [
        {"cell": f"c{i}", "key": f"k{i}", "folder": f"cells/c{i}-k{i}", "pruner": "random", "pruner.rate": rate,
         "defenses": defense, "attack": "sgi", "accuracy": 0.9 - rate / 3, "nmi": 0.7 - rate / 2, "psnr_db": 20.0 - i,
         "best_floor_psnr_db": 12.0, "best_floor_nmi": 0.2, "control_passed": True, "bytes_up": 2**20, "seconds": 3.0}
        for i, (rate, defense) in enumerate(cells)
    ]  # fmt: skip
    (folder / "results.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return write_sweep_report(folder)


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
    assert drawn_width(write_report(make_run(control_noise={"gi": 0.9})), tmp_path, width) == width


@pytest.mark.parametrize("width", [390, 1280])
def test_no_sweep_is_wider_than_the_screen(sweep_page: Path, tmp_path: Path, width: int) -> None:
    assert drawn_width(sweep_page, tmp_path, width) == width


def drawn_width(page: Path, tmp_path: Path, width: int) -> int:
    """Return how wide the page is in a window of ``width`` pixels."""
    frame = page.with_name("frame.html")
    inner = f"<iframe id=f src={page.name} style='width:{width}px;height:800px;border:0'></iframe>"
    measure = MEASURE.replace("<script>", "<script>onload=()=>{").replace("</script>", "}</script>")
    frame.write_text(f"<!doctype html><title>0</title>{inner}{measure}")
    document = chromium(tmp_path, "--allow-file-access-from-files", "--dump-dom", frame.as_uri())
    found = re.search(r"<title>(\d+)</title>", document)
    assert found is not None
    return int(found[1])


def test_a_page_asks_nobody_for_anything(make_run: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(make_run())
    log = tmp_path / "net.json"
    chromium(tmp_path, f"--log-net-log={log}", "--screenshot=" + str(tmp_path / "shot.png"), page.as_uri())
    # The page's own requests name the page as their initiator; the browser's housekeeping has none.
    initiated = re.findall(r'"initiator":"([^"]*)"[^}]*"url":"(https?:[^"]*)"', log.read_text(errors="replace"))
    assert [url for initiator, url in initiated if initiator != "not an origin"] == []


@pytest.mark.skipif(
    shutil.which("pdftotext") is None, reason="no pdftotext, which reads the print: apt-get install poppler-utils"
)
def test_a_print_shows_every_row_of_a_table_whole(make_run: Callable[..., Path], tmp_path: Path) -> None:
    page, print_file = write_report(make_run()), tmp_path / "print.pdf"
    chromium(tmp_path, f"--print-to-pdf={print_file}", "--no-pdf-header-footer", page.as_uri())
    command = ["pdftotext", "-layout", str(print_file), "-"]
    pages = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\f")
    # The head of a table and the last column of its rows lie on one page, inside the paper.
    (verdict,) = [text for text in pages if re.search(r"Attack +NMI +PSNR +SSIM", text)]
    assert len(re.findall(r"^ *(?:sgi|gi) .*passed", verdict, re.MULTILINE)) == 2
    (floors,) = [text for text in pages if "beside attack" in text]
    assert floors.count("mean image") >= 2
