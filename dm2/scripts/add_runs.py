"""Put finished runs into the tables of a scale, beside those that are there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import judge_claims, options


def main(
    scale: Annotated[str, typer.Argument(help="Scale whose tables are, or will be, in RESULTS.")],
    run_directories: Annotated[list[Path], typer.Argument(help="Folders of finished runs of that scale.")],
    results: Annotated[Path, typer.Option(help="Folder of all scales' tables.", file_okay=False)] = Path("results"),
) -> None:
    """Put runs of another machine, or seeds that were missing, into a scale's tables, and judge its claims again.

    A run that the tables have already is replaced. Archives of demonstrations are looked up beside the runs.
    """
    from dm2.analysis.merging import RunTables
    from dm2.analysis.tables import CURVES, ResultsError, cut_short, read_table, summary_table, write_table

    folder = results / scale
    curves = folder / "learning_curves.csv"
    tables = RunTables.of_runs(run_directories)
    found = tables.curves["scale"].iloc[0]
    if found != scale:
        raise ResultsError(f"found runs of scale {found}, expected runs of {scale}; name the scale that they are of")
    if curves.exists():
        tables = RunTables.read(folder).with_runs(tables)
    folder.mkdir(parents=True, exist_ok=True)
    tables.write(folder)
    summarised = summary_table(read_table(curves, CURVES))
    write_table(summarised, folder / "summary.csv")
    judge_claims.main(
        curves=curves,
        demonstrations=folder / "demonstrations.csv",
        paper_curves=results / "paper" / "paper_curves.csv",
        paper_demonstrations=results / "paper" / "demo_win_rates.csv",
        output=folder / "claims.csv",
        markdown=folder / "claims.md",
    )
    for note in cut_short(summarised):
        typer.echo(note, err=True)


if __name__ == "__main__":
    options.run(main)
