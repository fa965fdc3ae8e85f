"""The command `dm2`: every stage of the workflow from a shell, under the name of its module.

Importing this module starts neither torch nor numba; each stage imports what it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dm2 import __version__
from dm2.core.errors import report_errors
from dm2.scripts import (
    add_runs,
    aggregate_demonstrations,
    aggregate_runs,
    calibrate,
    choose_expert,
    compile_kernels,
    doctor,
    draw_figure,
    draw_figures,
    evaluate,
    export_curves,
    judge_claims,
    keep_expert,
    make_schemas,
    record_battles,
    sample_demonstrations,
    show_settings,
    stand_in,
    train,
    watch,
    write_report,
    write_results_page,
    write_settings,
)

STAGES = (
    *(show_settings, train, choose_expert, keep_expert, sample_demonstrations, evaluate, watch, record_battles),
    *(
        aggregate_runs,
        aggregate_demonstrations,
        add_runs,
        judge_claims,
        draw_figure,
        draw_figures,
        write_report,
        write_results_page,
        export_curves,
    ),
    *(calibrate, doctor, compile_kernels, write_settings, make_schemas),
)
"""In the order in which `dm2 --help` lists them."""

app = typer.Typer(
    help="DM²: decentralized multi-agent reinforcement learning via distribution matching.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _stage in STAGES:
    app.command(_stage.__name__.rpartition(".")[2].replace("_", "-"))(_stage.main)
app.add_typer(stand_in.app, name="stand-in")


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")] = False,
) -> None:
    pass


def main() -> None:
    """Entry point of the command `dm2`."""
    with report_errors():
        app()


if __name__ == "__main__":
    main()
