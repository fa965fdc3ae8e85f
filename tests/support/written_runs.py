"""Runs and archives as trainings leave them, written by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from dm2.analysis.tables import EVALUATION
from dm2.play.demonstrations import AgentDemonstrations, Demonstrations
from dm2.settings.demonstrations import DemonstrationSettings
from dm2.settings.learners import DiscriminatorSettings, IPPOSettings
from dm2.settings.run import DemonstrationSource, RunSettings

SOURCE = DemonstrationSource(expert="ippo", episodes=2, checkpoint_percent=50)


def write_run(
    folder: Path, condition: str = "ippo", seed: int = 1, steps: tuple[int, ...] = (0, 105, 210), **changes: object
) -> Path:
    """A finished run whose win rate is env_steps / 1000, unless `changes` says otherwise."""
    mixed = condition != "ippo"
    settings = RunSettings(
        scale=str(changes.get("scale", "quick")),
        map_name="3m",
        condition=condition,
        seed=seed,
        algorithm="ippo",
        reward="mixed" if mixed else "env",
        env_steps=int(str(changes.get("env_steps", 200))),
        evaluation_interval=100,
        evaluation_episodes=8,
        ippo=IPPOSettings(),
        discriminator=DiscriminatorSettings(batch_episodes=1) if mixed else None,
        demonstrations=SOURCE.model_copy(update={"episodes": changes.get("episodes", 2)}) if mixed else None,
    )
    directory = folder / "3m" / condition / f"seed-{seed}"
    directory.mkdir(parents=True)
    settings.to_yaml(directory / "settings.yaml")
    metrics = pd.DataFrame({"env_steps": steps}).reindex(columns=EVALUATION, fill_value=0.0)
    metrics["win_rate"] = changes.get("win_rate", [at / 1000 for at in steps])
    identity = {"backend": "simulator 1", "map_name": "3m", "condition": condition, "seed": seed}
    metrics = metrics.assign(**identity, policy_loss=0.25, env_steps_per_second=3.0, wall_seconds=9.0)
    metrics = metrics.assign(**{key: changes[key] for key in ("backend",) if key in changes})
    metrics.to_csv(directory / "metrics.csv", index=False)
    return directory


def write_archive(
    folder: Path, map_name: str = "3m", source: DemonstrationSource = SOURCE, sampling_seeds: Sequence[int] = (7,)
) -> Path:
    """Two one-step episodes of one agent, one of them won."""
    lengths, obs, actions = np.ones(2, np.int64), np.zeros((2, 4), np.float32), np.zeros(2, np.int64)
    agent = AgentDemonstrations(lengths, obs, actions, np.ones((2, 3), np.bool_), obs, actions)
    worth = {"map_name": map_name, "episodes": 2, "sampling_seeds": list(sampling_seeds), "return_mean": 7.25}
    worth |= {"sampled_win_rate": 0.5, "sampled_episodes": 2, "greedy_win_rate": 0.75, "greedy_episodes": 80}
    name = DemonstrationSettings(scale="quick", map_name="3m", source=source).name
    path = folder / "demonstrations" / "3m" / f"{name}.npz"
    Demonstrations((agent,), worth).save(path)
    return path
