"""Export learning curves to the JSON layout of marl-eval (`dm2 export-curves`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    curves: options.Curves,
    output: options.Output,
    map_names: Annotated[list[str] | None, typer.Option("--map", help="Map to take; all if none is named.")] = None,
    runs: Annotated[
        Path | None,
        typer.Option(
            help="Folder of the runs, for their absolute metrics; else the values at the end of training.",
            exists=True,
            file_okay=False,
        ),
    ] = None,
) -> None:
    """Write the conditions that all maps share as JSON for marl-eval; says what is left out or plotted wrongly."""
    from dm2.analysis.marl_eval import (
        absolute_metrics,
        evaluation_intervals,
        intervals_differ,
        left_out,
        marl_eval_layout,
    )
    from dm2.analysis.tables import CURVES, read_table
    from dm2.core.files import write_json

    table = read_table(curves, CURVES)
    absolute = None if runs is None else absolute_metrics(table, runs)
    layout = marl_eval_layout(table, map_names or [], absolute)
    write_json(output, layout)
    if missing := left_out(table, layout):
        typer.echo(f"left out, not run on all of these maps with all seeds: {', '.join(missing)}", err=True)
    if intervals_differ(intervals := evaluation_intervals(layout)):
        found = ", ".join(f"{steps:,} on {task}" for task, steps in intervals.items())
        typer.echo(
            f"warning: found evaluations every {found} env steps; marl-eval has one time axis for all maps and plots"
            " their curves over a wrong one: export maps of unlike intervals apart, with --map",
            err=True,
        )


if __name__ == "__main__":
    options.run(main)
