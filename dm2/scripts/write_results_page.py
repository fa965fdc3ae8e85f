"""Write the page of what reproduces from the tables of a scale (stage `write_results_page`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    scale: Annotated[str, typer.Argument(help="Scale whose tables are in RESULTS.")],
    results: Annotated[Path, typer.Option(help="Folder of all scales' tables.", file_okay=False)] = Path("results"),
    output: Annotated[Path, typer.Option(help="Page to write.", dir_okay=False)] = Path("docs/results.md"),
    front_page: Annotated[
        Path | None, typer.Option(help="Page to renew the verdicts of, README.md.", exists=True, dir_okay=False)
    ] = None,
    config_folder: options.ConfigFolder = Path("config"),
) -> None:
    """Write which claims of the paper hold at a scale, with the numbers behind each."""
    from dm2.analysis import results_page as pages
    from dm2.core.files import atomic_write
    from dm2.settings.files import check_name
    from dm2.settings.matrix import Matrix

    check_name("scale with verdicts", scale, [path.parent.name for path in results.glob("*/claims.csv")], str(results))
    written = {output: pages.results_page(results / scale, f"../figures/{scale}")}
    if front_page is not None:
        old = front_page.read_text(encoding="utf-8")
        ours, papers = (Matrix.load(config_folder, {"scale": name}) for name in (scale, "paper"))
        written[front_page] = pages.front_page(old, results / scale, f"figures/{scale}", ours, papers)
    for path, page in written.items():
        with atomic_write(path, "w") as file:
            file.write(page)


if __name__ == "__main__":
    options.run(main)
