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
) -> None:
    """Write which claims of the paper hold at a scale, with the numbers behind each."""
    from dm2.analysis.results_page import results_page
    from dm2.core.files import atomic_write
    from dm2.settings.files import check_name

    check_name("scale with verdicts", scale, [path.parent.name for path in results.glob("*/claims.csv")], str(results))
    page = results_page(results / scale, f"../figures/{scale}")
    with atomic_write(output, "w") as file:
        file.write(page)


if __name__ == "__main__":
    options.run(main)
