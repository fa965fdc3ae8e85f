"""The command `dm2`: every stage of the workflow from a shell.

Importing this module starts neither torch nor numba; each stage imports what it needs when it runs.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dm2 import __version__
from dm2.core.errors import report_errors
from dm2.scripts import (
    aggregate_demonstrations,
    aggregate_runs,
    choose_expert,
    doctor,
    draw_figure,
    draw_figures,
    evaluate,
    export_curves,
    judge_claims,
    record_battles,
    sample_demonstrations,
    show_settings,
    stand_in,
    train,
    watch,
    write_report,
)

app = typer.Typer(
    help="DM²: decentralized multi-agent reinforcement learning via distribution matching.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("settings")(show_settings.main)
app.command("train")(train.main)
app.command("choose-expert")(choose_expert.main)
app.command("sample")(sample_demonstrations.main)
app.command("evaluate")(evaluate.main)
app.command("watch")(watch.main)
app.command("battles")(record_battles.main)
app.command("doctor")(doctor.main)
app.command("aggregate-runs")(aggregate_runs.main)
app.command("aggregate-demonstrations")(aggregate_demonstrations.main)
app.command("claims")(judge_claims.main)
app.command("figure")(draw_figure.main)
app.command("figures")(draw_figures.main)
app.command("export")(export_curves.main)
app.command("report")(write_report.main)
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
