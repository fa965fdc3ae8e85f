from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dm2.analysis.evidence import Tables
from dm2.analysis.judgement import judge
from dm2.analysis.report import write_report
from dm2.analysis.tables import DEMONSTRATIONS, ResultsError, summary_table, write_table

PAPER = Path(__file__).parents[2] / "results" / "paper"


class Page(HTMLParser):
    """Collects rows of tables, image sources and whatever would be fetched from elsewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.sources: list[str] = []
        self.open_tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img"):
            self.open_tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open_tags.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open_tags and self.open_tags[-1] in ("td", "th"):
            self.rows[-1][-1] += data


@pytest.fixture
def scale(tmp_path: Path) -> Path:
    """The tables of a scale: on 3m one condition whose five seeds end at 0.5, 0.6, ... 0.9, on 3s_vs_3z two alike."""
    steps = np.linspace(0, 250_000, 41).astype(int)
    runs = [pd.DataFrame({"seed": seed, "env_steps": steps, "win_rate": 0.5 + seed / 10}) for seed in range(5)]
    curves = pd.concat(runs).assign(scale="quick", backend="simulator 1", map_name="3m", condition="dm2_<i>")
    compared = [curves.assign(map_name="3s_vs_3z", condition=name) for name in ("ippo", "dm2_qmix_demo")]
    curves = pd.concat([curves, *compared])
    demonstrations = pd.DataFrame(
        [["3m", "dm2_<i>", "a", "ippo", "7 9", 100, 0.1, 200, 0.75, 200, 0.875, 640, 12.34]], columns=DEMONSTRATIONS
    )
    paper = [pd.read_csv(PAPER / name) for name in ("paper_curves.csv", "demo_win_rates.csv")]
    write_table(summary_table(curves), tmp_path / "summary.csv")
    write_table(demonstrations, tmp_path / "demonstrations.csv")
    write_table(judge(Tables(curves, demonstrations, *paper)), tmp_path / "claims.csv")
    (tmp_path / "core.png").write_bytes(b"\x89PNG picture")
    return tmp_path


def test_the_page_holds_tables_verdicts_and_figures_and_fetches_nothing(scale: Path) -> None:
    write_report(scale, [scale / "core.png"], scale / "report.html")
    page = Page((scale / "report.html").read_text(encoding="utf-8"))
    assert page.open_tags == []
    assert ["3m", "dm2_<i>", "5", "250k", "0.70 ± 0.16", "0.70 [0.57, 0.83]", "0.70 ± 0.16", "0"] in page.rows
    assert ["3m", "dm2_<i>", "ippo", "7 9", "100 %", "10%", "200", "0.75", "0.88", "12.3"] in page.rows
    assert ["C9", "QMIX demonstrations work too", "undecided", "reproduced"] in page.rows
    row = ["C9", "3s_vs_3z", "AUC(dm2_qmix_demo) - AUC(ippo)", "above", "+0.00 [-0.25, +0.25]", "undecided", "", ""]
    assert [*row, "+0.14 [+0.05, +0.22]", "reproduced"] in page.rows
    assert {row[0] for row in page.rows if row[0] in ("C1", "C10", "S1")} == set()
    assert "Not judged at this scale: C1, C2, C3" in (scale / "report.html").read_text(encoding="utf-8")
    assert [source[:22] for source in page.sources] == ["data:image/png;base64,"]


def test_seeds_of_unequal_length_are_reported(scale: Path) -> None:
    summary = pd.read_csv(scale / "summary.csv")
    write_table(summary.assign(env_steps_cut=100_000), scale / "summary.csv")
    write_report(scale, [], scale / "report.html")
    assert "dm2_&lt;i&gt; on 3m: seeds of unequal length" in (scale / "report.html").read_text(encoding="utf-8")


def test_one_seed_has_no_interval_and_the_page_says_so(scale: Path) -> None:
    summary = pd.read_csv(scale / "summary.csv")
    alone = {"n_seeds": 1, "final_sd": None, "final_iqm_low": None, "final_iqm_high": None, "auc_sd": None}
    write_table(summary[summary["map_name"] == "3m"].assign(**alone), scale / "summary.csv")
    write_report(scale, [], scale / "report.html")
    text = (scale / "report.html").read_text(encoding="utf-8")
    assert ["3m", "dm2_<i>", "1", "250k", "0.70", "0.70", "0.70", "0"] in Page(text).rows
    assert "One seed has no interval and no sd: dm2_&lt;i&gt; on 3m." in text


def test_the_page_says_what_made_it(scale: Path) -> None:
    write_report(scale, [], scale / "report.html")
    text = (scale / "report.html").read_text(encoding="utf-8")
    assert "built-in simulator 1 at scale quick; it is no StarCraft II result" in text


def test_the_same_files_give_the_same_page(scale: Path) -> None:
    for name in ("first.html", "second.html"):
        write_report(scale, [scale / "core.png"], scale / name)
    assert (scale / "first.html").read_bytes() == (scale / "second.html").read_bytes()


@pytest.mark.parametrize("name", ["summary.csv", "demonstrations.csv", "claims.csv", "core.png"])
def test_a_missing_part_is_an_error_that_names_it_and_leaves_the_page_alone(scale: Path, name: str) -> None:
    (scale / "report.html").write_text("old")
    (scale / name).unlink()
    with pytest.raises(ResultsError, match=f"{name}: not found"):
        write_report(scale, [scale / "core.png"], scale / "report.html")
    assert (scale / "report.html").read_text() == "old"
