"""dm2.play.scripted: random play is uniform; the heuristic attacks, keeps its target, walks and stops as described."""

import numpy as np
import pytest
import torch

from dm2.backends.make_env import env_spec, make_env
from dm2.core.errors import UserError
from dm2.core.interface import EnvSpec
from dm2.play.evaluation import evaluate
from dm2.play.rollout import collect
from dm2.play.scripted import HeuristicPolicy, RandomPolicy, scripted_policy

STOP, NORTH, SOUTH, EAST, WEST = range(1, 6)
SPEC = EnvSpec("toy", 1, 2, 8, 4 + 2 * 5 + 1, 0, 10, "toy 1")  # one agent, two enemies


def sight(*enemies: tuple[float, float] | None, moves: str = "NSEW", reach: float = 6.0) -> tuple[torch.Tensor, ...]:
    """Observation and available actions of the agent, given the offsets of the enemies that it sees."""
    obs, avail_actions = torch.zeros(SPEC.obs_size), torch.zeros(SPEC.n_actions, dtype=torch.bool)
    avail_actions[STOP] = True
    for i, name in enumerate("NSEW"):
        avail_actions[NORTH + i] = name in moves
    for j, offset in enumerate(enemies):
        if offset is not None:
            distance = float(np.hypot(*offset))
            avail_actions[6 + j] = distance <= reach
            obs[4 + 5 * j : 9 + 5 * j] = torch.tensor([distance <= reach, distance / 9, *np.divide(offset, 9), 1.0])
    return obs, avail_actions


def play(*steps: tuple[torch.Tensor, ...], heading: tuple[float, float] = (1.0, 0.0)) -> list[int]:
    """The agent's actions in a row of situations."""
    policy = HeuristicPolicy(SPEC, 5, heading)
    hidden, actions = policy.initial_hidden(1), []
    for obs, avail_actions in steps:
        last, uniform = torch.zeros(1, 1, dtype=torch.int64), torch.zeros(1, 1)
        result = policy.act(obs[None, None], last, avail_actions[None, None], hidden, uniform)
        hidden = result.hidden
        actions.append(int(result.actions))
    return actions


def test_attacks_the_nearest() -> None:
    assert play(sight((5.0, 0.0), (0.0, 4.0))) == [7]


def test_keeps_its_target_until_it_dies() -> None:
    first, other_is_nearer = sight((3.0, 0.0), (0.0, 4.0)), sight((3.0, 0.0), (0.0, 1.0))
    assert play(first, other_is_nearer, sight(None, (0.0, 1.0))) == [6, 6, 7]


def test_walks_along_the_longer_axis_towards_a_target_out_of_reach() -> None:
    offsets = [(8.0, 1.0), (-8.0, 1.0), (1.0, 8.0), (1.0, -8.0), (6.0, 6.0)]
    assert [play(sight(offset))[0] for offset in offsets] == [EAST, WEST, NORTH, SOUTH, NORTH]


def test_a_target_that_walked_out_of_reach_is_followed_past_a_nearer_enemy() -> None:
    assert play(sight((5.0, 0.0), (0.0, 5.5)), sight((-7.0, 0.0), (0.0, 5.5))) == [6, WEST]


def test_takes_the_other_axis_where_the_ground_forbids_the_longer_one_and_else_stops() -> None:
    assert play(sight((8.0, -1.0), moves="NSW")) == [SOUTH]
    assert play(sight((8.0, -1.0), moves="NW")) == [STOP]


def test_out_of_sight_it_goes_where_the_enemies_start_and_then_where_it_saw_them_last() -> None:
    nothing = sight(None, None)
    assert play(nothing, sight((0.0, -7.0), None), nothing, heading=(0.0, 3.0)) == [NORTH, SOUTH, SOUTH]


@pytest.mark.parametrize(("map_name", "first"), [("3m", EAST), ("3s_vs_5z", EAST), ("6h_vs_8z", NORTH)])
def test_on_every_map_it_starts_towards_the_enemies(map_name: str, first: int) -> None:
    env = make_env("simulator", map_name, 1, 0)
    env.reset()
    obs = torch.from_numpy(env.obs).swapaxes(0, 1) * 0.0  # as if nobody were in sight
    policy = HeuristicPolicy.on_map(env.spec)
    agents = (env.spec.n_agents, 1)
    avail_actions = torch.from_numpy(env.avail_actions).swapaxes(0, 1)
    none_yet = torch.full(agents, -1)
    result = policy.act(obs, none_yet, avail_actions, policy.initial_hidden(1), torch.zeros(agents))
    assert result.actions.tolist() == [[first]] * env.spec.n_agents


@pytest.mark.parametrize("map_name", ["2s3z", "3s_vs_3z"])
def test_reads_the_observations_of_maps_with_shields_and_types(map_name: str) -> None:
    """In every step an agent that may attack does, and what it attacks was in sight."""
    env = make_env("simulator", map_name, 4, 3)
    episodes = collect(env, HeuristicPolicy.on_map(env.spec), np.arange(4), np.random.default_rng(0))
    attacks, could = episodes.actions >= 6, episodes.avail_actions[..., 6:].any(-1)
    assert attacks.any() and not (attacks & ~could).any()
    assert (attacks & could).sum() > 0.8 * could.sum()
    assert episodes.dead_enemies.sum() > 0


def test_heuristic_beats_random_on_3m() -> None:
    spec = env_spec("simulator", "3m")
    won = {
        name: evaluate(scripted_policy(name, spec), "simulator", "3m", seed=0, n_episodes=64)
        for name in ("heuristic", "random")
    }
    assert won["heuristic"].return_mean > won["random"].return_mean + 2
    assert won["random"].win_rate < 0.05


def test_random_is_uniform_over_what_is_available() -> None:
    avail_actions = torch.tensor([True, False, True, False, True]).expand(1, 3000, 5)
    uniform = (torch.arange(3000) / 3000)[None]
    actions = RandomPolicy().act(torch.zeros(1, 3000, 1), uniform.long(), avail_actions, {}, uniform).actions
    assert torch.bincount(actions[0], minlength=5).tolist() == [1000, 0, 1000, 0, 1000]


def test_epsilon_mixes_the_heuristic_with_random_play() -> None:
    obs, avail_actions = sight((5.0, 0.0))
    policy = HeuristicPolicy(SPEC, 5, (1.0, 0.0), epsilon=0.5)
    many = (1, 1200)
    uniform = (torch.arange(1200) / 1200)[None]
    result = policy.act(
        obs.expand(*many, -1),
        torch.zeros(many, dtype=torch.int64),
        avail_actions.expand(*many, -1),
        policy.initial_hidden(1200),
        uniform,
    )
    assert torch.bincount(result.actions[0], minlength=8).tolist() == [0, 100, 100, 100, 100, 100, 700, 0]


def test_what_does_not_exist_is_refused() -> None:
    spec = env_spec("simulator", "3m")
    with pytest.raises(UserError, match=r"policy: found 'greedy', expected one of heuristic, random"):
        scripted_policy("greedy", spec)
    with pytest.raises(UserError, match=r"epsilon: found 0\.1 for the random policy"):
        scripted_policy("random", spec, epsilon=0.1)
    with pytest.raises(ValueError, match=r"epsilon: found 1\.5, expected a probability"):
        scripted_policy("heuristic", spec, epsilon=1.5)


def test_medivacs_heal_the_hurt_and_the_others_attack() -> None:
    env = make_env("simulator", "MMM2", 8, 3)
    episodes = collect(env, HeuristicPolicy.on_map(env.spec), np.arange(8), np.random.default_rng(0))
    medivac, stops = episodes.actions[9], episodes.actions[9] == STOP
    healed = medivac[medivac >= 6] - 6
    assert len(healed) > 20
    assert healed.max() < 9  # never itself
    assert stops.any()  # with nobody hurt
    fights = episodes.avail_actions[:9, :, 6:].any(-1)
    assert (episodes.actions[:9][fights] >= 6).float().mean() > 0.8
