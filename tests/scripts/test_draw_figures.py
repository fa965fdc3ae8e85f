"""dm2.scripts.draw_figures: the committed figures are those of the committed tables."""

from pathlib import Path

from dm2.scripts import draw_figures

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
