"""Gather the runs of a scale into its learning curves, their summary and their records (stage `aggregate_runs`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    run_directories: Annotated[list[Path], typer.Argument(help="Folders of finished runs.")],
    curves: Annotated[Path, typer.Option(help="Table to write: one row per evaluation.", dir_okay=False)],
    summary: Annotated[Path, typer.Option(help="Table to write: one row per map and condition.", dir_okay=False)],
    records: Annotated[Path, typer.Option(help="File to write: run.json of each run, a line each.", dir_okay=False)],
) -> None:
    """Gather metrics and records of finished runs of one scale; says where seeds have unequal lengths."""
    from dm2.analysis.records import records_of, write_records
    from dm2.analysis.tables import CURVES, cut_short, learning_curves, read_table, summary_table, write_table

    write_table(learning_curves(run_directories), curves)
    summarised = summary_table(read_table(curves, CURVES))
    write_table(summarised, summary)
    write_records(records_of(run_directories), records)
    for note in cut_short(summarised):
        typer.echo(note, err=True)


if __name__ == "__main__":
    options.run(main)
