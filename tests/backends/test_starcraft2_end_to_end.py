"""Backend starcraft2 end to end: worker, pysc2 and the game's protocol, with the stand-in in the game's place."""

import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from support import fake_installation, pysc2_smac

pytest.importorskip("pysc2")
pytest.importorskip("s2clientprotocol")
pytest.importorskip("websocket")
pytest.importorskip("websockets")

from dm2.adapters.smac import StarCraft2Env
from dm2.adapters.stand_in.install import lay_out
from dm2.backends.make_env import env_spec, make_env
from dm2.backends.starcraft2 import MAX_FAILURES, StarCraft2Battles, starcraft2_spec
from dm2.core.errors import UserError
from dm2.play.evaluation import evaluate
from dm2.play.scripted import scripted_policy


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An installed stand-in and a smac that plays through it; returns SC2PATH."""
    game = tmp_path / "StarCraftII"
    lay_out(game)
    packages = pysc2_smac.install(tmp_path / "packages")
    monkeypatch.setenv("SC2PATH", str(game))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [str(packages), *sys.path])))
    monkeypatch.syspath_prepend(str(packages))
    starcraft2_spec.cache_clear()
    yield game
    starcraft2_spec.cache_clear()
    fake_installation.forget_packages()


def games() -> list[psutil.Process]:
    """The stand-ins that run below this process."""
    found = []
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
            if "dm2.adapters.stand_in.server" in one.cmdline():
                found.append(one)
    return found


def wait_until_gone(game: psutil.Process) -> None:
    """A killed process takes a moment, on a busy machine more."""
    end = time.monotonic() + 30
    while game.is_running() and game.status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)


def chosen(env: StarCraft2Battles) -> np.ndarray:
    """Attack the first enemy in reach, else go east."""
    numbers = np.arange(env.spec.n_actions)
    return (env.avail_actions * (1 + 4 * (numbers >= 6) + 2 * (numbers == 4))).argmax(axis=2)


def test_battles_are_the_simulators_and_say_so(folder: Path) -> None:
    spec = env_spec("starcraft2", "3m")
    assert spec.backend.startswith("simulator ") and spec.backend.endswith(" behind SMAC")
    env = make_env("starcraft2", "3m", 1, 5)
    seeds = []
    game = env._games[0]
    monitored = game.ask_reset
    game.ask_reset = lambda seed: (seeds.append(seed), monitored(seed))[1]
    env.reset()
    ours = StarCraft2Env("3m", seed=seeds[0])
    for _ in range(2):  # the second battle follows from what was played in the first
        ours.reset()
        while env.active.all():
            units = [*ours.agents.values(), *ours.enemies.values()]
            told = [[unit.health, unit.shield, *unit.pos[:2]] for unit in units]
            alive = np.array([unit.health > 0 for unit in units])
            assert np.allclose(env.state[0].reshape(-1, 4)[alive], np.array(told)[alive], atol=1e-5)
            actions = chosen(env)
            env.step(actions)
            _, _, info = ours.step(actions[0])
        outcome = {"battle_won": env.battle_won, "dead_allies": env.dead_allies, "dead_enemies": env.dead_enemies}
        assert {name: value[0] for name, value in outcome.items()} == info
        env.reset()
    env.close()
    assert games() == []


def test_an_evaluation_runs_through_it(folder: Path) -> None:
    policy = scripted_policy("random", env_spec("starcraft2", "3m"))
    played = evaluate(policy, "starcraft2", "3m", seed=1, n_episodes=2, n_threads=2)
    assert played.n_episodes == 2 and 0 < played.episode_length_mean <= 60
    assert games() == []


@pytest.mark.parametrize("victim", ["game", "worker"])
def test_a_game_or_worker_that_dies_is_started_again(
    folder: Path, victim: str, caplog: pytest.LogCaptureFixture
) -> None:
    env = StarCraft2Battles("3m", 1, seed=5)
    env.reset()
    env.step(chosen(env))
    (game,) = games()
    os.kill(game.pid if victim == "game" else game.ppid(), signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        env.step(chosen(env))
    assert env.truncated.all() and env.restarts == 1 and "StarCraft II is started again" in caplog.text
    env.reset()
    assert env.active.all() and [one.pid for one in games()] != [game.pid]
    env.step(chosen(env))
    env.close()
    assert games() == []


def test_a_game_that_hangs_is_given_up(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    env = StarCraft2Battles("3m", 1, seed=5)
    env.reset()
    (game,) = games()
    game.suspend()
    monkeypatch.setattr("dm2.backends.starcraft2.ANSWER_SECONDS", 2.0)
    env.step(chosen(env))
    assert env.truncated.all() and env.restarts == 1
    wait_until_gone(game)
    env.close()


def test_a_game_that_cannot_start_is_told_with_its_last_words(folder: Path) -> None:
    (program,) = folder.glob("Versions/Base*/SC2_x64")
    program.write_text("#!/bin/sh\necho no room in memory >&2\nexit 3\n")
    env = StarCraft2Battles("3m", 1, seed=5)
    with pytest.raises(UserError, match=rf"StarCraft II was lost {MAX_FAILURES} times in a row") as error:
        env.reset()
    assert "no room in memory" in str(error.value)
    env.close()


def test_another_version_is_refused_by_pysc2(folder: Path) -> None:
    from dm2.backends.starcraft2_worker import import_smac

    env = import_smac()("3m", game_version="3.16.1")
    with pytest.raises(ValueError, match=r"Unknown game version: 3\.16\.1"):
        env.reset()


def test_another_difficulty_is_refused_by_the_game(folder: Path) -> None:
    from dm2.backends.starcraft2_worker import import_smac

    env = import_smac()("3m", difficulty="3", seed=1)
    with pytest.raises(Exception, match="found difficulty Medium, expected VeryHard"):
        env.reset()
    env.close()
