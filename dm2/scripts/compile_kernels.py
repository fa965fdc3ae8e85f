"""Compile what numba compiles, once (last step of `make setup`): later runs read it from the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dm2.scripts import options

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec
    from dm2.learners.interface import Learner
    from dm2.play.demonstrations import Demonstrations
    from dm2.settings.run import RunSettings

MAP_NAME, SEED = "3m", 0


def main(
    scale: Annotated[str, typer.Option(help="Scale whose conditions are run through; a small one will do.")] = "smoke",
    config_folder: options.ConfigFolder = Path("config"),
) -> None:
    """Let every condition of a scale learn twice from a handful of battles, which compiles every kernel."""
    from dm2.backends.make_env import env_spec
    from dm2.settings.matrix import Matrix, Run

    matrix, spec = Matrix.load(config_folder, {"scale": scale}), env_spec("simulator", MAP_NAME)
    conditions = matrix.scale.runs[MAP_NAME]
    learners: dict[str, Learner] = {}
    for condition in sorted(conditions, key=lambda name: matrix.condition(name).settings.get("reward", "env")):
        settings = matrix.settings(Run(MAP_NAME, condition, SEED))
        source = settings.demonstrations
        demonstrations = None if source is None else _demonstrations(learners[source.expert], spec, settings)
        learners[condition] = _learn_twice(settings, spec, demonstrations)
    typer.echo(f"compiled for {', '.join(learners)}")


def _learn_twice(settings: RunSettings, spec: EnvSpec, demonstrations: Demonstrations | None) -> Learner:
    import numpy as np

    from dm2.backends.make_env import make_env
    from dm2.core.randomness import stream
    from dm2.learners.interface import build_learner
    from dm2.play.evaluation import evaluate
    from dm2.play.rollout import collect

    learner = build_learner(spec, settings, demonstrations)
    battles = learner.episodes_per_update
    env = make_env("simulator", MAP_NAME, battles, SEED)
    for update in range(2):
        numbers = np.arange(battles) + update * battles
        needs = {"keep_state": learner.keeps_state, "act_at_end": learner.acts_at_end}
        learner.learn(collect(env, learner.policy(), numbers, stream(SEED, update), **needs))
    evaluate(learner.greedy_policy(), "simulator", MAP_NAME, SEED, 2)
    return learner


def _demonstrations(expert: Learner, spec: EnvSpec, settings: RunSettings) -> Demonstrations:
    from dm2.backends.make_env import make_env
    from dm2.play.demonstrations import sample_demonstrations

    assert settings.demonstrations is not None
    return sample_demonstrations(
        [expert.policy()],
        spec,
        lambda battles, seed: make_env("simulator", MAP_NAME, battles, seed),
        seeds=[SEED],
        episodes=settings.demonstrations.episodes,
        metadata=settings.demonstrations.model_dump(mode="json", exclude={"expert_seeds"}),
    )


if __name__ == "__main__":
    options.run(main)
