"""dm2.scripts.draw_figures: the committed figures are those of the committed tables."""

from pathlib import Path

import pytest

from dm2.scripts import draw_figures
from dm2.settings.base import SettingsError

ROOT = Path(__file__).parents[2]


def test_what_committed_figures_show_is_what_the_tables_give(tmp_path: Path) -> None:
    """Their numbers; pixels hang on the fonts of the machine too."""
    draw_figures.main(None, ROOT / "results", tmp_path, ROOT / "config")
    drawn, committed = (
        {path.relative_to(folder): path.read_bytes() for path in folder.glob("*/*.csv")}
        for folder in (tmp_path, ROOT / "figures")
    )
    assert sorted(drawn) == sorted(path for path in committed if path.parts[0] in {one.parts[0] for one in drawn})
    assert all(committed[path] == drawn[path] for path in drawn)


def test_one_figure_is_drawn_alone(tmp_path: Path) -> None:
    draw_figures.main(["quick"], ROOT / "results", tmp_path, ROOT / "config", figure=["matching"])
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["matching.csv", "matching.pdf", "matching.png"]


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("cor", "unknown figure 'cor'; did you mean 'core'"),
        ("open_loop", "--figure: found nothing run of what open_loop shows at scale quick"),
    ],
)
def test_a_figure_that_cannot_be_drawn_is_refused(figure: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=message):
        draw_figures.main(["quick"], ROOT / "results", tmp_path, ROOT / "config", figure=[figure])
