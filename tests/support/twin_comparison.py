"""How far an update of IPPO or DM² is from the plain one of padded_ippo.py, also in whole batches of battles.

`python tests/support/twin_comparison.py` plays 64 episodes of 5m_vs_6m and of 3s_vs_4z with the paper's settings and
all quirks on, and prints the differences (some minutes).
"""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from support.padded_ippo import Task, Updated, update
from torch import Tensor

from dm2.backends.make_env import env_spec, make_env
from dm2.core.randomness import stream
from dm2.learners.discriminator import Discriminator
from dm2.learners.distribution_matching import DistributionMatching
from dm2.learners.ippo import IPPO, Batch, Rewards
from dm2.play.demonstrations import AgentDemonstrations, Demonstrations, sample_demonstrations
from dm2.play.rollout import Episodes, collect
from dm2.play.scripted import scripted_policy
from dm2.settings.learners import QuirkSettings
from dm2.settings.matrix import Matrix, Run
from dm2.settings.run import RunSettings

EPISODES = 64


def expert_table(demonstrations: AgentDemonstrations, steps: int, terminal: bool) -> tuple[Tensor, Tensor]:
    """Observations [episodes, steps + 1, obs_size] and actions of one agent's expert, zeros behind an episode's end."""
    n_episodes = len(demonstrations.lengths)
    obs = torch.zeros(n_episodes, steps + 1, demonstrations.obs.shape[1], dtype=torch.float64)
    actions = torch.zeros(n_episodes, steps + 1, dtype=torch.int64)
    row = 0
    for n, length in enumerate(demonstrations.lengths.tolist()):
        for t in range(length):
            obs[n, t] = torch.from_numpy(demonstrations.obs[row])
            actions[n, t] = int(demonstrations.actions[row])
            row += 1
        if terminal:
            obs[n, length] = torch.from_numpy(demonstrations.final_obs[n])
            actions[n, length] = int(demonstrations.final_actions[n])
    return obs, actions


def reward_table(rewards: Rewards, lengths: list[int], steps: int) -> Tensor:
    """Rewards of rows 0 to T - 1 of every episode, [A, N, T]."""
    table = rewards.padded[:, None, None].repeat(1, len(lengths), steps + 1)
    row = 0
    for n, length in enumerate(lengths):
        table[:, n, :length] = rewards.played[:, row : row + length]
        table[:, n, length] = rewards.terminal[:, n]
        row += length
    return table[:, :, :steps]


def differences(
    learner: IPPO | DistributionMatching, episodes: Episodes, demonstrations: tuple[AgentDemonstrations, ...] = ()
) -> dict[str, float]:
    """Do an update, and tell how far it is from the plain one.

    Args:
        learner: one whose optimizers have no past.
        episodes: played by its policy.
        demonstrations: one set per agent, for DM².

    Returns:
        By name, the largest over agents: of rewards, advantages and returns the largest absolute difference over the
        largest absolute value of the agent's rows that take part; of discriminator gradients, the first one and, over
        all steps, the later ones, which are at parameters that have come apart, the length of the difference over that
        of the gradient; of parameters, those of actors, critics and discriminators apart, the length of the difference
        over that of the update's change.
    """
    ippo = learner.ippo if isinstance(learner, DistributionMatching) else learner
    before = ippo.actor.clone(), ippo.critic.clone()
    twins, first_flat = plain_updates(learner, ippo, episodes, demonstrations)
    seen: dict[str, Any] = {}
    gradients: list[Tensor] = []
    make_batch = ippo.batch

    def batch(given: Episodes, rewards: Rewards) -> Batch:
        seen["rewards"] = reward_table(rewards, episodes.lengths.tolist(), ippo.spec.episode_limit)
        _, seen["advantages"], seen["returns"] = ippo.estimates(given, rewards)
        return make_batch(given, rewards)

    ippo.batch = batch  # type: ignore[method-assign]
    if isinstance(learner, DistributionMatching):
        own = learner.discriminator
        own.optimizer.register_step_pre_hook(lambda *_: gradients.append(_gradient_of(own)))
    learner.learn(episodes)
    ippo.batch = make_batch  # type: ignore[method-assign]
    played = torch.arange(ippo.spec.episode_limit) < episodes.lengths[:, None]
    taking_part = played | ippo.quirks.absorbing_zeros
    found: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        found.setdefault(name, []).append(value)

    for agent, twin in enumerate(twins):
        for name in ("rewards", "advantages", "returns"):
            fast, plain = seen[name][agent][taking_part].double(), getattr(twin, name)[taking_part]
            note(name, float((fast - plain).abs().max() / plain.abs().max()))
        pairs = zip([step[agent] for step in gradients], twin.discriminator_gradients, strict=True)
        for number, (fast, plain) in enumerate(pairs):
            name = "later discriminator gradients" if number else "first discriminator gradient"
            note(name, float((fast.double() - plain).norm() / plain.norm()))
        note("actor", _of_change(ippo.actor[agent], twin.actor, before[0][agent]))
        note("critic", _of_change(ippo.critic[agent], twin.critic, before[1][agent]))
        if twin.discriminator is not None and isinstance(learner, DistributionMatching) and first_flat is not None:
            after = learner.discriminator.flat.detach()[agent]
            note("discriminator", _of_change(after, twin.discriminator, first_flat[agent]))
    return {name: max(values) for name, values in found.items()}


def _gradient_of(discriminator: Discriminator) -> Tensor:
    assert discriminator.flat.grad is not None
    return discriminator.flat.grad.clone()


def _of_change(fast: Tensor, plain: Tensor, before: Tensor) -> float:
    return float((fast.double() - plain).norm() / (plain - before.double()).norm())


def plain_updates(
    learner: IPPO | DistributionMatching,
    ippo: IPPO,
    episodes: Episodes,
    demonstrations: tuple[AgentDemonstrations, ...],
) -> tuple[list[Updated], Tensor | None]:
    """The plain update of each agent, and the discriminators' parameters before it."""
    spec, absorbing = ippo.spec, ippo.quirks.absorbing_zeros
    nets = (ippo.actor.clone(), ippo.actor_shape), (ippo.critic.clone(), ippo.critic_shape)
    sizes = spec.n_agents, spec.n_actions, spec.episode_limit, ippo.settings, ippo.quirks
    if isinstance(learner, IPPO):
        return [update(Task(agent, *sizes), episodes, *nets) for agent in range(spec.n_agents)], None
    settings, flat = learner.discriminator_settings, learner.discriminator.flat.detach().clone()
    minibatches = learner.discriminator.minibatches(learner.demonstrations, learner.own_rows(episodes))
    updates = []
    for agent, draws in enumerate(minibatches):
        drawn = [
            (expert_ids, own_ids, alpha if absorbing else np.pad(alpha, ((0, 0), (0, 1))))
            for expert_ids, own_ids, alpha in islice(draws, settings.steps_per_update)
        ]
        task = Task(agent, *sizes, learner.settings.reward, settings)
        expert = expert_table(demonstrations[agent], spec.episode_limit, absorbing)
        updates.append(update(task, episodes, *nets, flat[agent], expert, drawn))
    return updates, flat


def learner_past_its_first_updates(settings: RunSettings, demonstrations: Demonstrations) -> DistributionMatching:
    """Networks that have learned a little, and optimizers without a past."""
    spec = env_spec("simulator", settings.map_name)
    learned, fresh = (DistributionMatching(spec, settings, demonstrations) for _ in range(2))
    for number in range(2):
        learned.learn(play(learned, settings, number))
    fresh.ippo.actor.copy_(learned.ippo.actor)
    fresh.ippo.critic.copy_(learned.ippo.critic)
    fresh.discriminator.flat.data.copy_(learned.discriminator.flat.data)
    return fresh


def play(learner: DistributionMatching, settings: RunSettings, number: int) -> Episodes:
    """Batch `number` of a learner's episodes."""
    battles = learner.episodes_per_update
    env = make_env("simulator", settings.map_name, battles, settings.seed)
    numbers = np.arange(battles) + battles * number
    return collect(env, learner.policy(), numbers, stream(settings.seed, "policy", number), act_at_end=True)


def main() -> None:
    """Print the differences of one update of each map."""
    torch.set_num_threads(1)
    matrix = Matrix.load(Path(__file__).parents[2] / "config", {"scale": "paper"})
    for map_name in ("5m_vs_6m", "3s_vs_4z"):
        paper = matrix.settings(Run(map_name, "dm2_ippo_demo_50", 112358))
        assert paper.ippo is not None and paper.demonstrations is not None
        changes = {
            "ippo": paper.ippo.model_copy(update={"episodes_per_update": EPISODES}),
            "demonstrations": paper.demonstrations.model_copy(update={"episodes": 2 * EPISODES}),
            "quirks": QuirkSettings.as_the_papers_code(),
        }
        settings = paper.model_copy(update=changes)
        spec = env_spec("simulator", map_name)
        demonstrations = sample_demonstrations(
            [scripted_policy("heuristic", spec)],
            spec,
            lambda battles, seed, name=map_name: make_env("simulator", name, battles, seed),  # type: ignore[misc]
            seeds=[1],
            episodes=2 * EPISODES,
        )
        learner = learner_past_its_first_updates(settings, demonstrations)
        episodes = play(learner, settings, 2)
        cut_off = int((episodes.lengths == spec.episode_limit).sum())
        steps = f"{episodes.lengths.min()} to {episodes.lengths.max()} steps"
        print(f"{map_name}: {EPISODES} episodes of {steps}, {cut_off} cut off")
        for name, value in differences(learner, episodes, demonstrations.agents).items():
            print(f"  {name:30} {value:.1e}", flush=True)


if __name__ == "__main__":
    main()
