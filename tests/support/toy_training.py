"""A training run of a moment: the real loop, storage and rollout around a toy learner and the fake environment.

As a program, started in `tests/`, it is what the tests kill: `python -m support.toy_training RUN_DIRECTORY
SECONDS_PER_UPDATE CHECKPOINT_MINUTES [KILL_AFTER_SECONDS ...]` first starts and kills a process for each of the last
numbers.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec
from torch import Tensor

from dm2.core.randomness import generator_state, restore_generator, stream
from dm2.core.run_directory import RunDirectory
from dm2.core.tensor_files import load_tensors
from dm2.play.evaluation import summarise
from dm2.play.rollout import ActResult, Episodes, Hidden, collect
from dm2.settings.run import RunSettings
from dm2.training.resume import checkpoints
from dm2.training.run import train
from dm2.training.stop_signals import TrainingInterrupted

SETTINGS = RunSettings(
    scale="test",
    map_name="fake",
    condition="toy",
    seed=7,
    algorithm="ippo",
    ippo={"episodes_per_update": 4},
    env_steps=600,
    evaluation_interval=100,
    evaluation_episodes=3,
    policy_percents=(20, 50, 100),
)


class ToyPolicy:
    """Takes an available action by a table of weights, one per agent and action."""

    def __init__(self, weights: Tensor, greedy: bool) -> None:
        self.weights = weights.clone()
        self.greedy = greedy

    def initial_hidden(self, n_battles: int) -> Hidden:
        return {"steps": torch.zeros(len(self.weights), n_battles)}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        chances = torch.where(avail_actions, self.weights[:, None, :].exp(), 0.0)
        shares = (chances / chances.sum(-1, keepdim=True)).cumsum(-1)
        actions = chances.argmax(-1) if self.greedy else (uniform[..., None] > shares).sum(-1).clamp(max=3)
        actions = torch.where(avail_actions.gather(-1, actions[..., None])[..., 0], actions, chances.argmax(-1))
        return ActResult(actions, {"steps": hidden["steps"] + 1})


class ToyLearner:
    """Strengthens the actions of well paid episodes, with noise of its own and a memory of all it saw."""

    keeps_state = False
    acts_at_end = False

    def __init__(self, episodes_per_update: int = 4, seconds: float = 0.0, fails_at: int | None = None) -> None:
        self.episodes_per_update = episodes_per_update
        self.seconds = seconds
        self.fails_at = fails_at
        self.generator = stream(0, "toy")
        self.weights = torch.zeros(2, 4)
        self.seen = torch.zeros(0)
        self.updates = 0

    def policy(self) -> ToyPolicy:
        return ToyPolicy(self.weights, greedy=False)

    def greedy_policy(self) -> ToyPolicy:
        return ToyPolicy(self.weights, greedy=True)

    def learn(self, episodes: Episodes) -> dict[str, float]:
        time.sleep(self.seconds)
        counts = torch.nn.functional.one_hot(episodes.actions, 4).float()
        noise = torch.from_numpy(self.generator.normal(size=(2, 4)).astype(np.float32))
        self.weights = self.weights + 0.01 * (counts * episodes.reward[:, None]).sum(1) + 0.01 * noise
        self.seen = torch.cat([self.seen, episodes.reward])
        self.updates += 1
        loss = float("nan") if self.updates == self.fails_at else float(self.weights.square().mean())
        metrics = {"policy_loss": loss, "reward_seen": float(self.seen.mean())}
        return metrics | ({"only_at_times": float(self.updates)} if self.updates % 3 == 0 else {})

    def policy_state(self) -> dict[str, Tensor]:
        return {"weights": self.weights}

    def state(self) -> dict[str, Tensor]:
        generator = json.dumps(generator_state(self.generator)).encode()
        return {
            "weights": self.weights,
            "seen": self.seen,
            "updates": torch.tensor(self.updates),
            "generator": torch.frombuffer(bytearray(generator), dtype=torch.uint8),
        }

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        self.weights, self.seen = tensors["weights"], tensors["seen"]
        self.updates = int(tensors["updates"])
        restore_generator(self.generator, json.loads(bytes(tensors["generator"].tolist())))


def toy_evaluate(policy: ToyPolicy, backend: str, map_name: str, seed: int, n_episodes: int, **options: object):
    return summarise(collect(FakeEnv(n_episodes, seed=seed % 1000), policy, np.arange(n_episodes), stream(seed)))


def toy_parts(learner: ToyLearner | None) -> dict[str, object]:
    """What takes the places of the real parts of a training, by where they are used."""
    return {
        "run.env_spec": lambda backend, map_name: FakeSpec(),
        "run.make_env": lambda backend, map_name, n_battles, seed, **rest: FakeEnv(n_battles, seed),
        "run.build_learner": lambda spec, settings, demonstrations: learner or ToyLearner(),
        "evaluations.evaluate": toy_evaluate,
        "evaluations.read_policy": lambda path, greedy: SimpleNamespace(
            policy=ToyPolicy(load_tensors(path, kind="policy")[0]["weights"], greedy)
        ),
        "run.run_digest": lambda stage, settings: "toy",
    }


def run_toy(
    run_directory: Path, learner: ToyLearner | None = None, settings: RunSettings = SETTINGS, **options: object
) -> None:
    """Train with the toy parts in the places of the real ones."""
    with contextlib.ExitStack() as stack:
        for name, part in toy_parts(learner).items():
            stack.enter_context(mock.patch(f"dm2.training.{name}", part))
        train(settings, run_directory, **options)


def fork_and_kill(after_seconds: float, run_directory: Path, learner: ToyLearner, checkpoint_minutes: float) -> None:
    """Train in a process of its own (a fork need not import torch again) and kill it; prints if it lived."""
    child = os.fork()
    if child == 0:
        run_toy(run_directory, learner, checkpoint_minutes=checkpoint_minutes)
        os._exit(0)
    time.sleep(after_seconds)
    os.kill(child, signal.SIGKILL)
    print("killed" if os.waitpid(child, 0)[1] == signal.SIGKILL else "finished", flush=True)


def main(run_directory: Path, seconds_per_update: float, checkpoint_minutes: float, *kill_after: float) -> None:
    for seconds in kill_after:
        fork_and_kill(seconds, run_directory, ToyLearner(seconds=seconds_per_update), checkpoint_minutes)
    print("started", flush=True)
    run_toy(run_directory, ToyLearner(seconds=seconds_per_update), checkpoint_minutes=checkpoint_minutes)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(float, sys.argv[2:]))


CLOCK = ("env_steps_per_second", "wall_seconds")


def rows_of(path: Path) -> list[dict[str, str]]:
    """The metrics without the columns of the clock, as the text that the file holds."""
    with open(path, newline="") as file:
        return [{key: value for key, value in row.items() if key not in CLOCK} for row in csv.DictReader(file)]


def stopped_run(directory: Path, after_updates: int = 12) -> RunDirectory:
    """A run with two checkpoints, stopped in the middle."""

    class Stopping(ToyLearner):
        def learn(self, episodes):
            metrics = super().learn(episodes)
            if self.updates == after_updates:
                signal.raise_signal(signal.SIGTERM)
            return metrics

    with pytest.raises(TrainingInterrupted):
        run_toy(directory, Stopping(), checkpoint_minutes=0.0)
    run = RunDirectory(directory)
    assert len(checkpoints(run)) == 2
    return run
