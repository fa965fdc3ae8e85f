"""dm2.adapters.gymnasium: shapes and the declared autoreset mode, against battles that are reset by hand."""

import numpy as np
import pytest

pytest.importorskip("gymnasium")
from gymnasium.vector import AutoresetMode

from dm2.adapters.gymnasium import BattleVectorEnv
from dm2.battle import BattleEnv


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


@pytest.mark.parametrize("map_name", ["3m", "2s3z"])
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


def test_a_seed_gives_the_same_battles_and_the_next_reset_other_ones() -> None:
    env = BattleVectorEnv("3m", 2)
    env.reset(seed=1)
    assert env._episodes.tolist() == [2, 3]
    first, _ = env.reset()
    env.reset(seed=1)
    again, _ = env.reset()
    assert np.array_equal(first["observation"], again["observation"])


def test_bad_use_is_refused() -> None:
    env = BattleVectorEnv("3m", 2)
    with pytest.raises(RuntimeError, match="call reset"):
        env.step(np.ones((2, 3), dtype=np.int64))
    env.reset(seed=1)
    with pytest.raises(ValueError, match=r"expected int64 \(2, 3\)"):
        env.step(np.ones((2, 2), dtype=np.int64))
