"""Sample demonstrations from experts, trained or scripted (stage `sample_demonstrations`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from dm2.scripts import options


def main(
    settings: options.Settings,
    output: options.Output,
    policies: Annotated[
        list[Path] | None,
        typer.Argument(help="Policies of the experts, in the order of their seeds; none if the expert is scripted."),
    ] = None,
    threads: options.Threads = 1,
) -> None:
    """Let experts play and store what each agent is to learn from.

    IPPO and R-MAPPO sample their policy, QMIX and the heuristic act by epsilon.
    """
    import torch

    from dm2.play.sampling import experts_of, greedy_play, n_episodes, sampled_play
    from dm2.settings.demonstrations import DemonstrationSettings
    from dm2.training.progress import ProgressReport

    wanted = DemonstrationSettings.from_yaml(settings)
    experts = experts_of(wanted, policies or [])
    torch.set_num_threads(1)  # float sums, and so results, would depend on their number
    greedy = greedy_play(wanted, experts, threads)
    with ProgressReport(wanted.name, n_episodes(wanted, experts.spec.n_agents), "episodes") as report:
        demonstrations = sampled_play(wanted, experts, greedy, threads, report.update)
        demonstrations.save(output)
        found = demonstrations.metadata
        report.message(f"win rate {found['sampled_win_rate']:.3f}, greedily {found['greedy_win_rate']:.3f}")


if __name__ == "__main__":
    options.run(main)
