"""Policies that nobody trained: uniformly random play, and SMAC's own rule of attacking the nearest enemy.

Both play through dm2.play.rollout.Policy like any trained policy, in evaluations and as experts for demonstrations.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dm2.battle.rules_of_smac import (
    DISTANCE,
    DX,
    DY,
    EAST,
    FIRST_ATTACK,
    HEALTH,
    MOVE_FEATURES,
    NORTH,
    SOUTH,
    STOP,
    WEST,
    FeatureSizes,
)
from dm2.battle.scenario import load_scenario
from dm2.core.errors import UserError
from dm2.play.actions import epsilon_greedy
from dm2.play.rollout import ActResult, Hidden
from dm2.settings.run import SCRIPTED_POLICIES

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec

NO_TARGET = -1


def scripted_policy(name: str, spec: EnvSpec, *, epsilon: float = 0.0) -> RandomPolicy | HeuristicPolicy:
    """The scripted policy of that name.

    Args:
        name: one of dm2.settings.run.SCRIPTED_POLICIES.
        spec: the map it plays on.
        epsilon: share of random actions of the heuristic.

    Raises:
        UserError: there is none of that name, or it takes no epsilon.
        ValueError: the map is unknown.
    """
    if name == "heuristic":
        return HeuristicPolicy.on_map(spec, epsilon=epsilon)
    if name != "random":
        raise UserError(f"policy: found {name!r}, expected one of {', '.join(SCRIPTED_POLICIES)}")
    if epsilon:
        raise UserError(f"epsilon: found {epsilon} for the random policy; all its actions are random, leave it 0")
    return RandomPolicy()


class RandomPolicy:
    """Every available action with the same probability."""

    def initial_hidden(self, n_battles: int) -> Hidden:
        """Nothing to remember."""
        return {}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step; see dm2.play.rollout.Policy."""
        return ActResult(epsilon_greedy(avail_actions.float(), avail_actions, 1.0, uniform), hidden)


@dataclass(frozen=True)
class Healers:
    """The agents that heal.

    Attributes:
        heals: bool [A].
        ally_features: numbers per other agent in an observation.
    """

    heals: Tensor
    ally_features: int

    def patients(self, obs: Tensor, n_targets: int) -> Tensor:
        """What agents see of those that one could heal, in the order of their actions.

        Args:
            obs: the part of the observations from the other agents on, float32 [A, B, (A - 1) * ally_features + own].
            n_targets: number of actions with a target, at least A.

        Returns:
            float32 [A, B, n_targets, ally_features]; zeros for who is out of sight, whole or a healer.
        """
        n_agents = len(self.heals)
        others = obs[..., : (n_agents - 1) * self.ally_features].unflatten(-1, (n_agents - 1, self.ally_features))
        everyone = obs.new_zeros(*obs.shape[:2], n_targets, self.ally_features)
        for agent in range(n_agents):
            everyone[agent, :, [k for k in range(n_agents) if k != agent]] = others[agent]
        hurt = (everyone[..., HEALTH] < 1.0) & (everyone[..., HEALTH] > 0.0)
        hurt[..., :n_agents] &= ~self.heals
        return everyone * hurt[..., None]


class HeuristicPolicy:
    """Attack the nearest enemy until it dies, as SMAC's `heuristic_ai` with `heuristic_rest` does.

    An agent keeps its target while it sees it alive; without one it takes the nearest enemy in sight, by the distance
    of the centres. It attacks the target where that is available. Otherwise it moves towards it along the longer of the
    two axes (vertically if they are equal), along the other one where the ground forbids that, and stops where both are
    forbidden. SMAC's script sees the whole map; this one plays from what the agents observe, so with no enemy in sight
    it goes where it last saw its target, at the battle's start from the agents' spawn point towards the enemies'.

    Medivacs heal by the same rule: the nearest agent in sight that has lost health, until it is whole or dead; with
    none they stop.
    """

    def __init__(
        self,
        spec: EnvSpec,
        enemy_features: int,
        heading: tuple[float, float],
        epsilon: float = 0.0,
        healers: Healers | None = None,
    ) -> None:
        """Play on one map.

        Args:
            spec: sizes of the map.
            enemy_features: numbers per enemy in an observation.
            heading: direction (x, y) in which the enemies are at the start.
            epsilon: share of random actions.
            healers: the agents that heal, None if there are none.

        Raises:
            ValueError: epsilon is no probability.
        """
        if not 0.0 <= epsilon <= 1.0:
            raise ValueError(f"epsilon: found {epsilon}, expected a probability between 0 and 1")
        self.spec, self.enemy_features, self.heading, self.epsilon = spec, enemy_features, heading, epsilon
        self.healers = healers

    @classmethod
    def on_map(cls, spec: EnvSpec, *, epsilon: float = 0.0) -> HeuristicPolicy:
        """The policy for a map, from what the map's data tell of units and spawn points.

        Raises:
            ValueError: the map is unknown, or epsilon is no probability.
        """
        world = load_scenario(spec.map_name)
        rules, kinds = world.rules[0], world.kinds
        agents, enemies = kinds[: spec.n_agents], kinds[spec.n_agents :]
        dx, dy = (float(enemies[axis].mean() - agents[axis].mean()) for axis in ("spawn_x", "spawn_y"))
        sizes, healers = FeatureSizes.of(rules), None
        if rules["has_healers"]:
            healers = Healers(torch.from_numpy(agents["heal_rate"] > 0), sizes.ally)
        return cls(spec, sizes.enemy, (dx, dy), epsilon, healers)

    def initial_hidden(self, n_battles: int) -> Hidden:
        """No target yet, and the direction of the enemies' spawn point."""
        teams = (self.spec.n_agents, n_battles)
        return {"target": torch.full(teams, NO_TARGET), "heading": torch.tensor(self.heading).expand(*teams, 2)}

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """Choose the actions of one step; see dm2.play.rollout.Policy."""
        end = MOVE_FEATURES + self.spec.n_enemies * self.enemy_features
        enemies = obs[..., MOVE_FEATURES:end].unflatten(-1, (self.spec.n_enemies, self.enemy_features))
        distance, offsets = enemies[..., DISTANCE], enemies[..., [DX, DY]]  # [A, B, n_enemies], [A, B, n_enemies, 2]
        if self.healers is not None:
            patients = self.healers.patients(obs[..., end:], self.spec.n_enemies)
            heals = self.healers.heals[:, None, None]
            distance = torch.where(heals, patients[..., DISTANCE], distance)
            offsets = torch.where(heals[..., None], patients[..., [DX, DY]], offsets)
        target = _choose_target(distance, hidden["target"])
        towards = offsets.gather(-2, target.clamp(min=0)[..., None, None].expand(*target.shape, 1, 2)).squeeze(-2)
        heading = torch.where((target == NO_TARGET)[..., None], hidden["heading"], towards)
        wishes = _wishes(target, heading, self.spec.n_actions)
        if self.healers is not None:
            wishes[..., STOP] += 3.0 * (self.healers.heals[:, None] & (target == NO_TARGET))
        actions = epsilon_greedy(wishes, avail_actions, self.epsilon, uniform)
        return ActResult(actions, {"target": target, "heading": heading})


def _choose_target(distance: Tensor, target: Tensor) -> Tensor:
    """The old target if it is in sight, else the nearest enemy in sight, else NO_TARGET.

    Args:
        distance: to each enemy, float32 [A, B, n_enemies]; 0 if it is not in sight.
        target: of the step before, int64 [A, B].

    Returns:
        int64 [A, B].
    """
    seen = distance > 0
    keeps = (target != NO_TARGET) & seen.gather(-1, target.clamp(min=0)[..., None]).squeeze(-1)
    nearest = distance.masked_fill(~seen, torch.inf).argmin(-1)
    return torch.where(keeps, target, torch.where(seen.any(-1), nearest, NO_TARGET))


def _wishes(target: Tensor, heading: Tensor, n_actions: int) -> Tensor:
    """How much each action is wished for, float32 [A, B, n_actions]: 4 attack, 3 and 2 the two moves, 1 stop."""
    dx, dy = heading.unbind(-1)
    across, along = torch.where(dx > 0, EAST, WEST), torch.where(dy > 0, NORTH, SOUTH)
    horizontal = dx.abs() > dy.abs()
    wishes = torch.zeros(*target.shape, n_actions)
    wishes[..., STOP] = 1.0
    wishes.scatter_(-1, torch.where(horizontal, along, across)[..., None], 2.0)
    wishes.scatter_(-1, torch.where(horizontal, across, along)[..., None], 3.0)
    attack = torch.where(target == NO_TARGET, STOP, FIRST_ATTACK + target)[..., None]
    return wishes.scatter_add_(-1, attack, torch.where(target == NO_TARGET, 0.0, 4.0)[..., None])
