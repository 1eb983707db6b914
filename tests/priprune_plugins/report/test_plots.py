"""The plots of a page as files."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from priprune_plugins.cli import main
from priprune_plugins.errors import ScenarioError
from priprune_plugins.report import write_report
from priprune_plugins.report.chart import Chart, Series
from priprune_plugins.report.plots import write_plots

needed = pytest.importorskip("matplotlib", reason="matplotlib is not installed: uv run --extra plots")


def test_matplotlib_draws_the_points_errors_and_floors_of_the_chart() -> None:
    from priprune_plugins.report.plot_drawing import figure_of

    line = Series("a", [(0, 1.0), (1, 3.0)], colour=1, y_ranges=[(0.5, 1.5), (2.0, 5.0)])
    floor = Series("floor", [(0, 2.0), (1, 2.0)], "floor")
    (axes,) = figure_of(Chart("T", "dB", [floor, line, Series("none", [])], x_label="rate")).axes
    drawn = {found.get_label(): found for found in axes.get_legend_handles_labels()[0]}
    assert axes.get_legend_handles_labels()[1] == ["floor", "a"]
    ((data, _, (bars,)),) = [(c.lines[0], c.lines[1], c.lines[2]) for c in axes.containers]
    assert data.get_xydata().tolist() == [[0, 1.0], [1, 3.0]] and data.get_color() == "#c2530a"
    assert [segment.tolist() for segment in bars.get_segments()] == [[[0, 0.5], [0, 1.5]], [[1, 2.0], [1, 5.0]]]
    assert drawn["floor"].get_linestyle() == "--" and drawn["floor"].get_ydata().tolist() == [2.0, 2.0]
    assert (axes.get_title("left"), axes.get_ylabel(), axes.get_xlabel()) == ("T", "dB", "rate")
    assert axes.get_ylim()[0] == 0.0


def test_bars_stand_beside_each_other_at_their_names() -> None:
    from priprune_plugins.report.plot_drawing import figure_of

    both = [Series(name, [(0, 1.0), (1, 2.0)], "bar", colour) for colour, name in enumerate("ab")]
    (axes,) = figure_of(Chart("T", "", both, x_names=["none", "largest"])).axes
    middles = [round(bar.get_x() + bar.get_width() / 2, 3) for bar in axes.patches]
    assert middles == [-0.2, 0.8, 0.2, 1.2]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["none", "largest"]


@pytest.mark.slow
def test_every_chart_of_the_page_is_a_file_of_each_format_and_the_same_each_time(make_run: Callable[..., Path]) -> None:
    folder = make_run()
    page = write_report(folder, ("png", "pdf"))
    plots = sorted((folder / "plots").iterdir())
    assert len(plots) == 2 * page.read_text().count("<svg ")
    assert plots[0].name.startswith("01-") and "01-psnr-of-" in plots[0].name
    assert {path.read_bytes()[:4] for path in plots} == {b"\x89PNG", b"%PDF"}
    before = {path.name: path.read_bytes() for path in plots}
    (folder / "plots/99-gone.png").write_bytes(b"")
    (folder / "plots/mine.png").write_bytes(b"")
    write_report(folder, ("png", "pdf"))
    (folder / "plots/mine.png").unlink()
    assert {path.name: path.read_bytes() for path in (folder / "plots").iterdir()} == before


def test_the_command_takes_formats_after_the_folder(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = make_run()
    assert main(["report", str(folder), "--plots", "pdf"]) == 0
    assert {path.suffix for path in (folder / "plots").iterdir()} == {".pdf"}
    assert main(["report", str(folder), "--plots", "gif"]) == 2
    assert "must be png, pdf or png,pdf, got 'gif'" in capsys.readouterr().err


def test_without_matplotlib_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(
        ScenarioError, match=r"--plots needs matplotlib, which is not installed: .*uv run --extra plots"
    ):
        write_plots(tmp_path, [])
    assert not list(tmp_path.iterdir())
