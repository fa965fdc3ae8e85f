"""Draw every figure again from the committed tables, without training (`make figures`)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import draw_figure, options


def main(
    scales: Annotated[list[str] | None, typer.Argument(help="Scales to draw, by default all that have tables.")] = None,
    results: Annotated[Path, typer.Option(help="Folder of the tables.", file_okay=False)] = Path("results"),
    figures: Annotated[Path, typer.Option(help="Folder to draw into.", file_okay=False)] = Path("figures"),
    config_folder: options.ConfigFolder = Path("config"),
    figure: Annotated[list[str] | None, typer.Option(help="Figures to draw, by default all.")] = None,
) -> None:
    """Draw figures of the scales that have tables; takes seconds, trains nothing, leaves the tables alone.

    Of a scale that is not finished it draws what was run.
    """
    from dm2.analysis.curve_figures import describe, of_what_was_run
    from dm2.analysis.tables import CURVES, read_table
    from dm2.settings.base import SettingsError
    from dm2.settings.files import check_name, scale_names
    from dm2.settings.matrix import Matrix

    drawable = [scale for scale in scale_names(config_folder) if (results / scale / "learning_curves.csv").is_file()]
    if not drawable:
        raise SettingsError(
            f"{results}: found no <scale>/learning_curves.csv; `make reproduce` makes those of scale quick"
        )
    drawn: list[Path] = []
    for scale in scales or drawable:
        check_name("scale with tables", scale, drawable, str(results))
        matrix = Matrix.load(config_folder, {"scale": scale})
        curves = results / scale / "learning_curves.csv"
        runs = read_table(curves, CURVES)
        for name in figure or ():
            check_name("figure", name, matrix.figures, str(config_folder / "experiments.yaml"))
        for name in filter(matrix.figure_maps, figure or matrix.figures):
            settings = matrix.figures[name]
            if of_what_was_run(describe(matrix, name), runs, settings.needs, settings.baseline) is None:
                continue
            draw_figure.main(
                name,
                curves=curves,
                demonstrations=results / scale / "demonstrations.csv",
                paper_curves=results / "paper" / "paper_curves.csv",
                stem=figures / scale / name,
                configuration=json.dumps({"scale": scale}),
                config_folder=config_folder,
            )
            drawn.append(figures / scale / f"{name}.pdf")
            typer.echo(drawn[-1])
    if figure and not drawn:
        asked = ", ".join(figure)
        raise SettingsError(
            f"--figure: found nothing run of what {asked} shows at scale {', '.join(scales or drawable)}"
        )


if __name__ == "__main__":
    options.run(main)
