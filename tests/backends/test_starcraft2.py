"""dm2.backends.starcraft2 with a fake SMAC; the real game is not needed, and was never there."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support.fake_installation import is_running, processes, wait_until_gone

from dm2.backends.make_env import env_spec, make_env
from dm2.backends.starcraft2 import MAX_FAILURES, StarCraft2Battles
from dm2.core.errors import UserError
from dm2.play.evaluation import evaluate
from dm2.play.scripted import scripted_policy

STOP, NORTH = 1, 2


@pytest.fixture
def battles(packages: Path):
    """Two battles; their games end with the test."""
    env = StarCraft2Battles("3m", 2, seed=5)
    yield env
    env.close()


def team(env: StarCraft2Battles, first: int) -> np.ndarray:
    """Actions of every battle: agent 0 takes `first`, the others stop, the dead do nothing."""
    actions = np.full((env.n_battles, env.spec.n_agents), STOP)
    actions[:, 0] = first
    actions[env.avail_actions[:, :, 0]] = 0
    return actions


def test_buffers_hold_what_smac_says(battles: StarCraft2Battles, packages: Path) -> None:
    env, obs = battles, battles.obs
    assert env.spec == env_spec("starcraft2", "3m")
    assert env.spec.backend == "StarCraft II (build 75689, difficulty 7)"
    assert (env.spec.n_agents, env.spec.n_enemies, env.spec.n_actions, env.spec.episode_limit) == (3, 3, 9, 6)
    env.reset(np.array([7, 8]))
    assert (env.obs.dtype, env.state.dtype, env.reward.dtype) == (np.float32,) * 3
    assert (env.avail_actions.dtype, env.active.dtype, env.dead_allies.dtype) == (bool, bool, np.int64)
    assert env.active.all()
    assert obs[0, :, 1:].tolist() == [[0, 0, 0], [0, 0, 1], [0, 0, 2]]  # battle of the game, step, agent
    assert obs[0, 0, 0] != obs[1, 0, 0]  # seeds
    for _ in range(2):
        env.step(team(env, NORTH))
    assert env.obs is obs
    assert env.reward.tolist() == [0.5, 0.5]
    assert env.state[:, 2].tolist() == [2, 2]
    assert env.avail_actions[0].tolist() == [[False] + [True] * 8] * 2 + [[True] + [False] * 8]
    assert env.dead_allies.tolist() == [1, 1]


def test_finished_battles_stay_as_they_are_until_the_reset(battles: StarCraft2Battles, packages: Path) -> None:
    env = battles
    env.reset()
    for _ in range(4):
        actions = team(env, STOP)
        actions[1, 0] = NORTH  # wins in step 4
        env.step(actions)
    assert env.active.tolist() == [True, False]
    assert (env.battle_won.tolist(), env.terminated.tolist()) == ([False, True], [False, True])
    assert (env.reward.tolist(), env.dead_enemies.tolist()) == ([0.5, 20.0], [0, 3])
    kept = env.obs[1].copy()
    for _ in range(2):
        actions = team(env, STOP)
        actions[1] = 99  # nobody reads it
        env.step(actions)
    np.testing.assert_array_equal(env.obs[1], kept)
    assert env.reward.tolist() == [0.5, 0.0]
    assert (env.truncated.tolist(), env.terminated.tolist()) == ([True, False], [False, True])
    with pytest.raises(RuntimeError, match=r"call reset\(\)"):
        env.step(team(env, STOP))
    env.reset()
    assert env.obs[:, 0, 1].tolist() == [1, 1]  # the same games, their second battles
    assert env.active.all() and not env.truncated.any() and not env.battle_won.any()
    assert len(processes(packages)) == 4  # two workers, two games


def test_a_games_seed_is_that_of_its_first_episode(packages: Path) -> None:
    seen = []
    for episodes in ([3, 4], [4, 3]):
        env = StarCraft2Battles("3m", 2, seed=5)
        env.reset(np.array(episodes))
        seen.append(env.obs[:, 0, 0].tolist())
        env.close()
    assert seen[0] == seen[1][::-1]


def test_a_reset_within_the_first_battle_leaves_one_game(battles: StarCraft2Battles, packages: Path) -> None:
    battles.reset()
    first = processes(packages)
    battles.reset()
    wait_until_gone(first, 5)
    assert len(processes(packages)) == 8


@pytest.mark.parametrize("fault", ["crash", "game", "hang"])
def test_a_lost_battle_is_cut_and_its_game_starts_again(
    battles: StarCraft2Battles,
    packages: Path,
    fault: str,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    env = battles
    (packages / "faults").write_text(fault)
    env.reset()
    first = processes(packages)
    if fault == "hang":
        monkeypatch.setattr("dm2.backends.starcraft2.ANSWER_SECONDS", 2.0)
    for _ in range(3):
        env.step(team(env, NORTH))
    cut = int(np.flatnonzero(~env.active)[0])
    assert env.active.sum() == 1 and env.restarts == 1
    assert (env.truncated[cut], env.terminated[cut], env.battle_won[cut]) == (True, False, False)
    assert (env.reward[cut], env.state[cut, 2]) == (0.0, 2)  # the last that was seen
    what = "did not answer for 2 seconds" if fault == "hang" else "died"
    assert re.search(rf"battle {cut}: worker process \d+ {what}; StarCraft II is started again", caplog.text)
    pairs = [first[0:2], first[2:4]]
    wait_until_gone(next(pair for pair in pairs if not is_running(pair[0])), 5)  # the game went with its worker
    env.step(team(env, NORTH))
    env.reset()
    assert env.active.all()
    assert env.obs[cut, 0, 1] == 0 and env.obs[1 - cut, 0, 1] == 1


def test_the_restarts_are_bounded_and_the_error_shows_the_log(packages: Path) -> None:
    (packages / "faults").write_text("launch always")
    env = StarCraft2Battles("3m", 1, seed=5)
    with pytest.raises(UserError, match=rf"battle 0: StarCraft II was lost {MAX_FAILURES} times in a row") as error:
        env.reset()
    assert "fake StarCraft II starts" in str(error.value)
    assert "RuntimeError: no OpenGL here" in str(error.value)
    assert "dm2 doctor" in str(error.value)
    assert env.restarts == MAX_FAILURES
    env.close()


def test_a_game_that_never_answers_is_given_up(packages: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dm2.backends.starcraft2.ANSWER_SECONDS", 2.0)
    (packages / "faults").write_text("hang always")
    env = StarCraft2Battles("3m", 1, seed=5)
    message = rf"battle 0: .* {MAX_FAILURES} times in a row.* its worker process \d+ did not answer for 2 seconds"
    with pytest.raises(UserError, match=message):
        for _ in range(MAX_FAILURES):
            env.reset()
            for _ in range(3):
                env.step(team(env, NORTH))
    wait_until_gone(processes(packages), 5)  # the last game goes with its worker
    env.close()


def test_one_failed_start_is_tried_again(packages: Path) -> None:
    (packages / "faults").write_text("launch")
    env = StarCraft2Battles("3m", 1, seed=5)
    env.reset()
    assert env.active.all() and env.restarts == 1
    env.close()


def test_an_env_that_nobody_holds_ends_its_games(packages: Path) -> None:
    env = StarCraft2Battles("3m", 1, seed=5)
    env.reset()
    numbers = processes(packages)
    assert all(map(is_running, numbers))
    del env
    wait_until_gone(numbers, 5)


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_no_game_outlives_the_program(packages: Path, end: signal.Signals) -> None:
    program = (
        "import time; from dm2.backends.starcraft2 import StarCraft2Battles\n"
        "if __name__ == '__main__':\n"
        "    env = StarCraft2Battles('3m', 1, seed=5); env.reset(); print('ready', flush=True); time.sleep(600)"
    )
    path = os.pathsep.join([str(packages), *sys.path])
    parent = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, env=os.environ | {"PYTHONPATH": path}
    )
    assert parent.stdout is not None and parent.stdout.readline() == b"ready\n"
    numbers = processes(packages)
    parent.send_signal(end)
    parent.wait()
    parent.stdout.close()
    wait_until_gone(numbers, 10)


def test_an_unavailable_action_names_battle_agent_and_choices(battles: StarCraft2Battles) -> None:
    battles.reset()
    for wrong in (0, 9, -1):
        actions = team(battles, STOP)
        actions[1, 2] = wrong
        match = rf"battle 1, agent 2: action {wrong} is not available; available: \[1, 2, 3, 4, 5, 6, 7, 8\]"
        with pytest.raises(ValueError, match=match):
            battles.step(actions)


def test_other_shapes_and_numbers_are_refused(battles: StarCraft2Battles) -> None:
    with pytest.raises(ValueError, match=r"actions: expected int64 \(2, 3\), found"):
        battles.step(np.ones((2, 2), dtype=np.int64))
    with pytest.raises(ValueError, match="episodes: expected 2 numbers >= 0"):
        battles.reset(np.array([1, -1]))
    with pytest.raises(ValueError, match="n_battles 0, seed 0: expected"):
        StarCraft2Battles("3m", 0, 0)


def test_options_that_smac_does_not_have_are_refused(packages: Path) -> None:
    with pytest.raises(UserError, match="regeneration_pays false, expected true"):
        make_env("starcraft2", "3m", 1, 0, regeneration_pays=False)
    with pytest.raises(UserError, match="found autoreset, expected none"):
        make_env("starcraft2", "3m", 1, 0, autoreset=True)
    assert isinstance(make_env("starcraft2", "3m", 1, 0), StarCraft2Battles)


@pytest.mark.parametrize(("episodes", "threads", "games"), [(8, 1, 1), (8, 3, 2), (2, 16, 2), (320, 16, 16)])
def test_games_at_once_are_bounded_by_the_threads(packages: Path, episodes: int, threads: int, games: int) -> None:
    assert make_env("starcraft2", "3m", episodes, 0, n_threads=threads).n_battles == games


def test_an_evaluation_plays_in_waves(packages: Path) -> None:
    policy = scripted_policy("random", env_spec("starcraft2", "3m"))
    played = evaluate(policy, "starcraft2", "3m", seed=1, n_episodes=6, n_threads=2)
    assert played.n_episodes == 6
    assert 4 <= played.episode_length_mean <= 6
    assert len(processes(packages)) == 4
    wait_until_gone(processes(packages), 5)


def test_maps_that_are_not_there_are_refused(packages: Path) -> None:
    with pytest.raises(UserError, match=r"found no 5m_vs_6m\.SC2Map in .*only 3m, 9m"):
        env_spec("starcraft2", "5m_vs_6m")
    with pytest.raises(ValueError, match="unknown map '9m': SMAC has no such map"):
        env_spec("starcraft2", "9m")


def test_packages_that_do_not_work_together_are_told_in_one_line(packages: Path) -> None:
    (packages / "smac" / "env" / "__init__.py").write_text("import pysc2.lib\n")
    with pytest.raises(
        UserError, match=r"^backend starcraft2: smac cannot be imported: No module named 'pysc2.lib' \("
    ):
        env_spec("starcraft2", "3m")


def test_without_starcraft_the_command_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SC2PATH", str(tmp_path))
    wanted = ["evaluate", "--policy", "random", "--map", "3m", "--backend", "starcraft2"]
    program = f"import sys; sys.argv = ['dm2', *{wanted!r}]; from dm2.cli import main; main()"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert shown.returncode == 1
    assert shown.stderr.startswith("error: backend starcraft2: game: found no Versions/Base*/SC2_x64 in")
    assert len(shown.stderr.splitlines()) == 1
