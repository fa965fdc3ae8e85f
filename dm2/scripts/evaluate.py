"""Play with a trained policy and say how well it does (`dm2 evaluate`)."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    policy: Annotated[Path, typer.Argument(help="policies/*.safetensors of a run.", exists=True, dir_okay=False)],
    episodes: Annotated[int, typer.Option(help="Battles to play.", min=1)] = 320,
    seed: Annotated[int, typer.Option(help="Seed of the battles.", min=0)] = 0,
    sample: Annotated[bool, typer.Option("--sample", help="Let IPPO sample its actions instead of the best.")] = False,
    threads: options.Threads = 1,
) -> None:
    """Play battles with a policy, greedily unless told otherwise, and print the statistics as JSON."""
    import torch

    from dm2.evaluation import evaluate
    from dm2.scripts.policy_file import read_policy

    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    trained = read_policy(policy, greedy=not sample)
    run = trained.settings
    evaluation = evaluate(
        trained.policy,
        run.backend,
        run.map_name,
        seed,
        episodes,
        n_threads=threads,
        regeneration_pays=run.quirks.regeneration_pays,
    )
    typer.echo(json.dumps(trained.record() | {"backend": trained.spec.backend} | asdict(evaluation), indent=2))


if __name__ == "__main__":
    options.run(main)
