"""dm2.battle.rules_of_smac: rewards by hand; sizes are tested where the interface is (test_scenario.py)."""

from __future__ import annotations

import pytest

from dm2.battle.rules_of_smac import BASIC_ACTIONS, FIRST_ATTACK, FeatureSizes, action_name, max_reward, reward

MOST = max_reward(3, 3 * 45)  # three Marines


@pytest.mark.parametrize(
    ("damage", "kills", "won", "regeneration_pays", "points"),
    [
        (6, 0, False, True, 6),
        (51, 1, False, True, 51 + 10),
        (45, 1, True, True, 45 + 10 + 200),
        (135, 3, True, False, 365),
        (-8, 0, False, True, 8),
        (-8, 0, False, False, 0),
    ],
)
def test_reward_by_hand(damage: float, kills: int, won: bool, regeneration_pays: bool, points: float) -> None:
    assert MOST == 365
    assert reward(damage, kills, won, MOST, regeneration_pays) == pytest.approx(points * 20 / 365)


def test_every_action_has_a_name() -> None:
    assert len(BASIC_ACTIONS) == FIRST_ATTACK
    assert [action_name(action) for action in (0, 5, 6, 8)] == ["no-op", "west", "attack 0", "attack 2"]


def test_sizes_count_shields_and_types_of_each_side() -> None:
    rules = {"allies_have_shields": True, "enemies_have_shields": False, "n_types": 2}
    assert FeatureSizes.of(rules) == FeatureSizes(enemy=7, ally=8, own=4, agent_state=7, enemy_state=5)
