import copy
import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from priprune_plugins.errors import ScenarioError
from priprune_plugins.report import write_report

MakeRun = Callable[..., Path]
VOID_TAGS = {"meta", "img", "br", "link"}


class Page(HTMLParser):
    """Collects tags with their attributes and checks that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def text_of(folder: Path) -> str:
    return write_report(folder).read_text(encoding="utf-8")


def row(text: str, attack: str) -> str:
    start = text.index(f'<th scope="row">{attack}</th>')
    return text[start : text.index("</tr>", start)]


def test_the_page_loads_nothing_and_runs_nothing(make_run: MakeRun) -> None:
    text = text_of(make_run())
    page = Page(text)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    sources = [a[key] or "" for _, a in page.tags for key in ("src", "href", "xlink:href") if key in a]
    assert sources
    assert all(source.startswith("data:image/png;base64,") for source in sources)
    assert "url(" not in text
    assert "@import" not in text


def test_every_picture_says_what_it_shows(make_run: MakeRun) -> None:
    page = Page(text_of(make_run()))
    alternatives = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    assert len(alternatives) == 2 * 2 * 4 * (3 + 3)  # truth and guess, attacks, rounds, victims and controls
    assert all(alternatives)
    assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")


def test_text_from_the_scenario_is_escaped(make_run: MakeRun) -> None:
    evil = "<script>alert(1)</script>"
    scenario = {"name": evil, "pruner": {"name": evil, "rate": evil}, "attacks": [{"name": "sgi", "note": f'"{evil}'}]}
    folder = make_run(scenario=scenario)
    text = text_of(folder)
    assert "<script" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 5


def test_an_attack_name_is_escaped_in_table_chart_and_picture(make_run: MakeRun) -> None:
    folder = make_run()
    for name in ("privacy.jsonl", "summary.json"):
        text = (folder / name).read_text().replace('"sgi"', json.dumps("<b onload=x>"))
        (folder / name).write_text(text)
    text = text_of(folder)
    assert "<b onload" not in text
    assert "PSNR of &lt;b onload=x&gt;" in text


def test_the_figures_of_the_worst_attack_come_first_and_in_words(make_run: MakeRun) -> None:
    folder = make_run(control_noise={"gi": 0.05})
    text = text_of(folder)
    figures = json.loads((folder / "summary.json").read_text())["attacks"]["sgi"]
    assert text.index(row(text, "sgi")) < text.index(row(text, "gi"))
    number, worst = max(figures["by_round"].items(), key=lambda item: item[1]["nmi"])
    assert f"Worst case: sgi, round {number} reconstructs at NMI {worst['nmi']:.2f} (16 grey levels)" in text
    assert f"{figures['psnr_db']:.1f}\u00a0dB" in row(text, "sgi")
    assert "1 failed" in row(text, "gi")


def test_masks_and_what_else_left_the_clients_are_on_the_page(make_run: MakeRun) -> None:
    folder = make_run()
    text = text_of(folder)
    assert 'aria-label="Density per layer"' in text
    assert ">conv2</text>" in text
    assert "4\u00a0KiB" in row(text, "snip_scores")
    assert "4 rounds, from 9 to 39" in row(text, "squares")
    (folder / "summary.json").unlink()
    assert ">layer 2</text>" in text_of(folder)


def test_a_failed_control_makes_every_figure_of_its_attack_void(make_run: MakeRun) -> None:
    folder = make_run(control_noise={"gi": 0.9})
    text = text_of(folder)
    assert row(text, "gi").count('class="voided">void<') == 7
    assert "failed: VOID" in row(text, "gi")
    assert "void" not in row(text, "sgi")
    assert "PSNR of gi" not in text
    assert "gi: nothing to draw that is not void" in text


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("scenario.yaml", "what was run is not known"),
        ("rounds.jsonl", "no curves of the training"),
        ("timing.jsonl", "no times"),
        ("privacy.jsonl", "no attack was measured"),
        ("summary.json", "the run did not finish"),
        ("environment.json", "versions are not known"),
    ],
)
def test_a_missing_file_is_said_and_not_fatal(make_run: MakeRun, name: str, said: str) -> None:
    folder = make_run()
    (folder / name).unlink()
    text = text_of(folder)
    assert f"{name} is missing" in text
    assert said in text


def test_missing_and_damaged_pictures_are_counted(make_run: MakeRun) -> None:
    folder = make_run()
    (folder / "audit/r000000_c00003.safetensors").unlink()
    (folder / "reconstructions/sgi/r000000_c00007.safetensors").write_bytes(b"\xff" * 40)
    assert "no readable file for 2 of the uploads" in text_of(folder)


def test_damaged_lines_are_counted_and_the_rest_is_used(make_run: MakeRun) -> None:
    folder = make_run()
    with (folder / "rounds.jsonl").open("a") as lines:
        lines.write('{"round": 40, "los')
    assert "1 damaged lines of rounds.jsonl were left out." in text_of(folder)


def test_without_a_summary_the_verdict_comes_from_the_lines(make_run: MakeRun) -> None:
    folder = make_run()
    before = row(text_of(folder), "sgi")
    (folder / "summary.json").unlink()
    assert row(text_of(folder), "sgi") == before


def test_a_run_without_attacks_says_that_nothing_is_known(make_run: MakeRun) -> None:
    folder = make_run()
    summary = copy.deepcopy(json.loads((folder / "summary.json").read_text()))
    summary["attacks"] = {}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "privacy.jsonl").unlink()
    assert "nothing is known about privacy" in text_of(folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match="is no run folder"):
        write_report(tmp_path)
