"""dm2.adapters.gymnasium: shapes and the declared autoreset mode, against battles that are reset by hand."""

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
import torch

pytest.importorskip("gymnasium")
import gymnasium
from gymnasium.vector import AutoresetMode

from dm2.adapters.gymnasium import BattleVectorEnv
from dm2.battle.env import BattleEnv


def chosen(masks: np.ndarray) -> np.ndarray:
    """Attack the first enemy in reach, else go east, else the first available action."""
    actions = np.arange(masks.shape[-1])
    return (masks * (1 + 4 * (actions >= 6) + 2 * (actions == 4))).argmax(axis=-1)


def test_shapes_are_the_spaces() -> None:
    env = BattleVectorEnv("3m", 4)
    observations, _ = env.reset(seed=1)
    assert env.observation_space.contains(observations)
    assert env.action_space.contains(chosen(observations["action_mask"]))
    assert env.observation_space["observation"].shape == (4, 3, 30)
    assert env.metadata["autoreset_mode"] is AutoresetMode.SAME_STEP


@pytest.mark.parametrize("map_name", ["3m", "2s3z", "MMM"])
def test_a_battle_that_ends_starts_anew_in_the_same_step(map_name: str) -> None:
    env, by_hand = BattleVectorEnv(map_name, 2), BattleEnv(map_name, 2, 1)
    observations, _ = env.reset(seed=1)
    by_hand.reset()
    while by_hand.active.all():
        actions = chosen(observations["action_mask"])
        by_hand.step(actions)
        observations, rewards, terminations, truncations, infos = env.step(actions)
        assert np.array_equal(rewards, by_hand.reward.astype(float))
        assert np.array_equal(infos["dead_allies"], by_hand.dead_allies)
    ended = ~by_hand.active
    assert np.array_equal(terminations | truncations, ended)
    assert np.array_equal(infos["_final_obs"], ended)
    for battle in range(2):
        final = infos["final_obs"][battle]
        if ended[battle]:
            assert np.array_equal(final["observation"], by_hand.obs[battle])
            assert np.array_equal(final["action_mask"], by_hand.avail_actions[battle])
            assert env.single_observation_space.contains(final)
            assert observations["observation"][battle].any(axis=1).all()  # all agents alive again
        else:
            assert final is None
            assert np.array_equal(observations["observation"][battle], by_hand.obs[battle])


def test_the_final_mask_of_a_healer_names_its_patients() -> None:
    env, by_hand = BattleVectorEnv("MMM", 2), BattleEnv("MMM", 2, 1)
    env.reset(seed=1)
    by_hand.reset()
    for battles in (env._env.battles, by_hand.battles):
        battles.status["steps"] = 149  # the next step is the last
    by_hand.step(np.ones((2, 10), dtype=np.int64))
    *_, infos = env.step(np.ones((2, 10), dtype=np.int64))
    assert by_hand.avail_actions[:, 9, 6:].any() and not by_hand.active.any()
    for battle in range(2):
        assert np.array_equal(infos["final_obs"][battle]["action_mask"], by_hand.avail_actions[battle])


def test_a_seed_gives_the_same_battles_and_the_next_reset_other_ones() -> None:
    env = BattleVectorEnv("3m", 8)
    first, following, again, following_again = (env.reset(seed=seed)[0]["observation"] for seed in (1, None, 1, None))
    assert np.array_equal(first, again) and np.array_equal(following, following_again)
    assert not np.array_equal(first, following)


def test_bad_use_is_refused() -> None:
    env = BattleVectorEnv("3m", 2)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.ones((2, 3), dtype=np.int64))
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"expected int64 \(2, 3\)"):
        env.step(np.ones((2, 2), dtype=np.int64))
    env = BattleVectorEnv("3m", 2)
    with pytest.raises(ValueError, match=r"options: found \['mask'\], expected none but \[\]"):
        env.reset(options={"mask": 1})
    with pytest.raises(ValueError, match="'LATER' is not a valid AutoresetMode"):
        BattleVectorEnv("3m", 2, autoreset_mode="LATER")


@pytest.mark.parametrize("kind", [np.ndarray.tolist, np.int8, torch.tensor, lambda actions: actions[..., None]])
def test_actions_of_any_whole_kind_are_taken(kind: Callable[[np.ndarray], object]) -> None:
    env, other = BattleVectorEnv("3m", 2), BattleVectorEnv("3m", 2)
    actions = chosen(env.reset(seed=1)[0]["action_mask"])
    other.reset(seed=1)
    assert np.array_equal(env.step(actions)[0]["observation"], other.step(kind(actions))[0]["observation"])


def test_every_info_has_a_mask_and_final_infos_are_those_of_the_ended() -> None:
    env = BattleVectorEnv("3m", 4)
    observations, _ = env.reset(seed=1)
    while True:
        observations, _, terminations, truncations, infos = env.step(chosen(observations["action_mask"]))
        assert all(infos[f"_{name}"].all() for name in ("battle_won", "dead_allies", "dead_enemies"))
        if (ended := terminations | truncations).any():
            break
    final = infos["final_info"]
    assert np.array_equal(infos["_final_info"], ended) and np.array_equal(final["_battle_won"], ended)
    for name in ("battle_won", "dead_allies", "dead_enemies"):
        assert np.array_equal(final[name], np.where(ended, infos[name], 0))
    assert final["dead_allies"][ended].any() or final["dead_enemies"][ended].any()


def test_next_step_mode_shows_the_last_observation_and_then_starts() -> None:
    env = BattleVectorEnv("3m", 3, autoreset_mode=AutoresetMode.NEXT_STEP)
    observations, _ = env.reset(seed=1)
    ended_before, starts = np.zeros(3, dtype=bool), 0
    for _ in range(80):
        actions = chosen(observations["action_mask"])
        observations, rewards, terminations, truncations, infos = env.step(actions)
        if ended_before.any():
            starts += int(ended_before.sum())
            assert not (terminations | truncations | rewards.astype(bool))[ended_before].any()
            assert np.array_equal(infos["_battle_won"], ~ended_before)
            assert (observations["observation"][ended_before][..., -1] == 1).all()  # in full health
        ended_before = terminations | truncations
    assert starts >= 3
    assert "final_obs" not in infos


def test_disabled_mode_waits_for_a_mask() -> None:
    env = BattleVectorEnv("3m", 3, autoreset_mode="Disabled")
    with pytest.raises(RuntimeError, match=r"no battle was started: call reset\(\) before step\(\)"):
        env.step(np.ones((3, 3), dtype=np.int64))
    observations, _ = env.reset(seed=1)
    ended = np.zeros(3, dtype=bool)
    while not ended.any():
        observations, _, terminations, truncations, _ = env.step(chosen(observations["action_mask"]))
        ended = terminations | truncations
    with pytest.raises(RuntimeError, match=r"battles \[.*\] are not running: call reset\(\) with reset_mask"):
        env.step(chosen(observations["action_mask"]))
    fresh, _ = env.reset(options={"reset_mask": ended})
    going = ~ended
    assert np.array_equal(fresh["observation"][going], observations["observation"][going])
    assert not np.array_equal(fresh["observation"][ended], observations["observation"][ended])
    env.step(chosen(fresh["action_mask"]))
    for mask in (np.zeros(3, dtype=bool), np.ones(2, dtype=bool), np.ones(3)):
        with pytest.raises(ValueError, match="reset_mask: found"):
            env.reset(options={"reset_mask": mask})
    with pytest.raises(ValueError, match="a seed starts all battles"):
        env.reset(seed=1, options={"reset_mask": ended})


def test_the_state_is_the_simulators() -> None:
    env, by_hand = BattleVectorEnv("3m", 2), BattleEnv("3m", 2, 1)
    env.reset(seed=1)
    by_hand.reset()
    assert np.array_equal(env.state(), by_hand.state)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_gymnasium_makes_it_by_name(mode: AutoresetMode) -> None:
    env = gymnasium.make_vec("dm2/5m_vs_6m-v0", num_envs=3, autoreset_mode=mode)
    assert isinstance(env, BattleVectorEnv) and env.num_envs == 3
    assert env.spec.id == "dm2/5m_vs_6m-v0" and env.metadata["autoreset_mode"] is mode
    assert env.reset(seed=1)[0]["observation"].shape == (3, 5, 55)


def test_gymnasium_finds_the_names_by_itself() -> None:
    program = (
        "import gymnasium; env = gymnasium.make_vec('dm2.adapters.gymnasium:dm2/5m_vs_6m-v0', num_envs=2)\n"
        "assert len([name for name in gymnasium.registry if name.startswith('dm2/')]) == 23\n"
        "print(type(env).__name__, env.num_envs)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("BattleVectorEnv 2", "")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env))])
def test_a_copy_goes_on_alike(copied: Callable[[BattleVectorEnv], BattleVectorEnv]) -> None:
    env = BattleVectorEnv("3m", 4, n_threads=2)
    observations, _ = env.reset(seed=1)
    other = copied(env)
    for _ in range(40):  # battles end on the way
        actions = chosen(observations["action_mask"])
        observations, rewards, *_ = env.step(actions)
        others, rewards_of_copy, *_ = other.step(actions)
        assert np.array_equal(observations["observation"], others["observation"])
        assert np.array_equal(rewards, rewards_of_copy)
