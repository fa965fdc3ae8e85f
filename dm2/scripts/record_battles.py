"""Record a battle of every final policy, a page each (stage `record_battles`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options

SEED = 0  # of the battles: all policies of a map are shown in the same one


def main(
    policies: Annotated[list[Path], typer.Argument(help="Policy files.", exists=True, dir_okay=False)],
    output: Annotated[Path, typer.Option(help="Folder to write to: MAP/CONDITION/seed-SEED.html.", file_okay=False)],
) -> None:
    """Play one battle with every policy, greedily, and write the pages to watch them."""
    import torch

    from dm2.play.policy_files import read_policy
    from dm2.training.progress import ProgressReport
    from dm2.viewer.battles import battles_of_run
    from dm2.viewer.watch import write_viewer

    torch.set_num_threads(1)  # float sums, and so actions, would depend on their number
    with ProgressReport("battles", len(policies), "policies") as report:
        for done, path in enumerate(policies, start=1):
            run = read_policy(path).settings
            recording, title, thoughts = battles_of_run(path, 1, SEED)
            page = output / run.map_name / run.condition / f"seed-{run.seed}.html"
            page.parent.mkdir(parents=True, exist_ok=True)
            write_viewer(page, recording, title, thoughts)
            report.update(done)


if __name__ == "__main__":
    options.run(main)
