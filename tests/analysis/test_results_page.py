"""dm2.analysis.results_page: the page says what the tables say, and the committed page is the committed tables'."""

import json
import shutil
from pathlib import Path

import pytest
from support.judged_tables import flat, runs, tables

from dm2.analysis.claims import CLAIMS
from dm2.analysis.evidence import Tables
from dm2.analysis.judgement import judge
from dm2.analysis.results_page import MARKS, SHOWN_IN, front_page, results_page
from dm2.analysis.tables import CURVES, DEMONSTRATIONS, ResultsError, write_table
from dm2.scripts import write_results_page
from dm2.settings.base import SettingsError
from dm2.settings.matrix import Matrix

REPOSITORY = Path(__file__).parents[2]
PAGE = REPOSITORY / "docs" / "results.md"
ACCURACIES = ["discriminator_accuracy_expert", "discriminator_accuracy_own"]
RECORD = {
    "settings": {"map_name": "3s_vs_3z", "condition": "ippo"},
    "backend": "simulator 1",
    "cpu": "AMD EPYC",
    "products": "torch",
    "env_steps": 1_000,
    "wall_seconds": 5400.0,
    "threads": 1,
}


def page_of(given: Tables, folder: Path) -> str:
    write_table(judge(given), folder / "claims.csv")
    write_table(given.curves.reindex(columns=[*CURVES, *ACCURACIES]), folder / "learning_curves.csv")
    write_table(given.demonstrations.reindex(columns=DEMONSTRATIONS), folder / "demonstrations.csv")
    (folder / "records.jsonl").write_text(json.dumps(RECORD) + "\n")
    return results_page(folder, "../figures/quick")


@pytest.fixture
def page(tmp_path: Path) -> str:
    given = tables(
        runs("3s_vs_3z", "ippo", flat(0.1)),
        runs("3s_vs_3z", "dm2_ippo_demo", flat(0.5)).assign(
            discriminator_accuracy_expert=lambda rows: 0.9 - rows["env_steps"] / 2500, discriminator_accuracy_own=0.5
        ),
        demonstrations={("3s_vs_3z", "dm2_ippo_demo"): 0.75},
    )
    return page_of(given, tmp_path)


def test_the_verdict_table_has_ours_beside_the_papers(page: str) -> None:
    (line,) = [line for line in page.splitlines() if line.startswith("| C1 ")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["C1", "DM² with IPPO demonstrations learns faster than IPPO", "**reproduced**", "3s_vs_3z"]
    assert cells[4].startswith("+0.40 [") and cells[5] == "+0.19 [+0.10, +0.27]"
    assert cells[6:] == ["reproduced", "5"]


def test_every_number_that_decides_a_claim_of_two_parts_is_in_its_line(tmp_path: Path) -> None:
    heights = {"ippo": 0.1, "qmix": 0.6, "rmappo": 0.3}
    page = page_of(tables(*(runs("3s_vs_3z", name, flat(height)) for name, height in heights.items())), tmp_path)
    (line,) = [line for line in page.splitlines() if line.startswith("| C10 ")]
    ours = line.strip("|").split("|")[4]
    assert "+0.50 [" in ours and "; +0.20 [" in ours


def test_a_claim_half_run_names_what_was_not_run(tmp_path: Path) -> None:
    page = page_of(
        tables(*(runs("3s_vs_3z", name, flat(height)) for name, height in [("ippo", 0.1), ("qmix", 0.6)])), tmp_path
    )
    (line,) = [line for line in page.splitlines() if line.startswith("| C10 ")]
    assert "**undecided**" in line and "| 3s_vs_3z " in line and "| +0.50 [" in line
    assert "AUC(rmappo) - AUC(ippo) is not run." in page


def test_a_scale_that_judges_nothing_says_so(tmp_path: Path) -> None:
    assert "Not judged at this scale: C1," in page_of(tables(runs("3s_vs_3z", "ippo", flat(0.1))), tmp_path)


def test_each_claim_that_was_run_has_its_figure_and_its_sentences(page: str) -> None:
    section = page.partition("## C1:")[2].partition("\n## ")[0]
    assert "(../figures/quick/core.png)" in section
    assert "3s_vs_3z: AUC(dm2_ippo_demo) - AUC(ippo) is +0.40 [" in section
    assert "5 seeds a side of 1k env steps; demonstrations of ippo at 50 %, seed 7" in section
    assert "## C2:" not in page and "Not judged at this scale: C2," in page


SCALE = """\
scale: two
backend: simulator
seeds: [1, 2, 3, 4, 5]
runs: {3s_vs_3z: [ippo, dm2_ippo_demo, qmix]}
maps: {3s_vs_3z: {env_steps: 3_000_000}}
"""
SUMMARY = """\
scale,backend,map_name,condition,n_seeds,env_steps,final_mean,final_sd,auc_mean,auc_sd,final_iqm,final_iqm_low,\
final_iqm_high,steps_to_50pct,evaluations,env_steps_cut
two,simulator 7,3s_vs_3z,ippo,5,3000000,,,,,,,,,,
two,simulator 7,3s_vs_3z,dm2_ippo_demo,5,3000000,,,,,,,,,,
"""


def test_the_front_page_has_verdicts_between_its_marks_and_keeps_the_rest(page: str, tmp_path: Path) -> None:
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    (tmp_path / "config" / "scales" / "two.yaml").write_text(SCALE)
    (tmp_path / "summary.csv").write_text(SUMMARY)
    matrices = [Matrix.load(tmp_path / "config", {"scale": scale}) for scale in ("two", "paper")]
    start, end = MARKS
    front = front_page(f"# Head\n{start}\nold\n{end}\nTail\n", tmp_path, "figures/two", *matrices)
    assert front.startswith(f"# Head\n{start}\n<img ") and front.endswith(f"|\n{end}\nTail\n") and "old" not in front
    assert "simulator 7, 2 of its 3 pairs of condition and map trained so far: 5 seeds,\nthe paper's settings;" in front
    assert "; env steps, ours of the paper's: 3s_vs_3z 3M of 10.1M.*" in front
    (line,) = [line for line in front.splitlines() if line.startswith("| C1 ")]
    assert "| reproduced | **reproduced** on 3s_vs_3z: AUC(dm2_ippo_demo) - AUC(ippo) +0.40 [" in line
    assert front.count("| not run |") == 10 and "| S1 |" not in front
    with pytest.raises(ResultsError, match="found no line '<!-- end of verdicts -->'"):
        front_page(f"{start}\n", tmp_path, "figures/two", *matrices)


def test_how_far_discriminators_are_deceived_is_told(page: str) -> None:
    section = page.partition("## How well discriminators tell the team from its experts")[2].partition("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| 3s_vs_3z ")]
    assert [cell.strip() for cell in line.strip("|").split("|")] == [
        "3s_vs_3z",
        "dm2_ippo_demo",
        "5",
        "0.70",
        "0",
        "0.50",
    ]
    assert "(../figures/quick/matching.png)" in section


def test_experts_and_costs_are_told(page: str) -> None:
    section = page.partition("## Who demonstrated")[2].partition("\n## ")[0]
    (line,) = [line for line in section.splitlines() if line.startswith("| 3s_vs_3z ")]
    assert [cell.strip() for cell in line.strip("|").split("|")][2:5] == ["ippo", "7", "50"]
    assert "1.5 core hours on AMD EPYC, matrix products by torch" in page


def test_recorded_battles_are_linked(tmp_path: Path, page: str) -> None:
    assert "## Battles" not in page  # there are none
    for condition in ("qmix", "ippo"):
        recorded = tmp_path / "recordings" / "3s_vs_3z" / f"{condition}.json"
        recorded.parent.mkdir(parents=True, exist_ok=True)
        recorded.touch()
    (line,) = [line for line in results_page(tmp_path, "").splitlines() if line.startswith("- 3s_vs_3z: [")]
    links = [f"[{name}](../results/{tmp_path.name}/recordings/3s_vs_3z/{name}.json)" for name in ("ippo", "qmix")]
    assert line == f"- 3s_vs_3z: {', '.join(links)}"


def test_a_scale_without_verdicts_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match=r"unknown scale with verdicts 'laptpo'; did you mean 'laptop'\?"):
        write_results_page.main("laptpo", REPOSITORY / "results")


def test_every_figure_named_is_one_of_the_configuration() -> None:
    assert set(SHOWN_IN) <= {claim.name for claim in CLAIMS}
    assert set(SHOWN_IN.values()) <= set(Matrix.load(REPOSITORY / "config", {"scale": "paper"}).figures)


def test_the_committed_page_is_that_of_the_committed_tables() -> None:
    assert PAGE.read_text(encoding="utf-8") == results_page(REPOSITORY / "results" / "laptop", "../figures/laptop")
