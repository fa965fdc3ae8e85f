"""DM2: independent PPO on a reward that also asks each agent to match its expert's distribution.

Source: Wang et al., "DM2: Decentralized Multi-Agent Reinforcement Learning via Distribution Matching" (AAAI 2023). One
update of every agent i:

    1. play episodes with the current policies
    2. train discriminator D_i on the expert's rows and on the agent's own (`dm2.learners.discriminator`)
    3. r_i = r_env + c * logit_i      with logit_i = log D_i - log(1 - D_i), neither normalised nor clipped
    4. update policy and critic by PPO on r_i (`dm2.learners.ippo`)

With the reward `gail` the agent gets logit_i alone, without c, as in the paper's code: PPO normalises advantages, so c
would only scale what the critic has to learn. Under the quirk `absorbing_zeros` the terminal row and the padded rows
pay too: what the discriminator says of the final observation and of the zero row, and nothing from the environment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch import Tensor

from dm2.learners.discriminator import Discriminator, demonstration_rows, own_rows
from dm2.learners.discriminator_kernels import EpisodeRows
from dm2.learners.ippo import IPPO, Batch, IPPOPolicy, Rewards
from dm2.nets.actor_critic import entries_of
from dm2.play.demonstrations import Demonstrations, check_demonstrations
from dm2.play.rollout import Episodes
from dm2.settings.base import SettingsError
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from dm2.core.interface import EnvSpec


def matching_reward(env_reward: Tensor | float, logit: Tensor, reward: str, weight: float) -> Tensor:
    """r_i of each step.

    Args:
        env_reward: of the team, broadcast against logit.
        logit: of each agent's discriminator, any shape.
        reward: "mixed": env_reward + weight * logit; "gail": logit.
        weight: c.

    Returns:
        The shape of logit.
    """
    return logit if reward == "gail" else env_reward + weight * logit


class DistributionMatching:
    """IPPO and discriminators as one learner.

    Args:
        spec: sizes of the map.
        settings: of the run; the blocks `ippo` and `discriminator` must be there.
        demonstrations: what the experts did, one set per agent; None where a subclass has experts of its own.

    Raises:
        SettingsError: the demonstrations are of another map or another source.
    """

    keeps_state = False

    def __init__(self, spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> None:
        if settings.ippo is None or settings.discriminator is None:
            raise SettingsError("settings: found no block ippo or no block discriminator, expected both")
        self.settings = settings
        self.discriminator_settings = settings.discriminator
        self.ippo = IPPO(spec, settings.ippo, settings.quirks, settings.seed)
        self.discriminator = Discriminator(spec, settings.discriminator, settings.quirks, settings.seed)
        self.demonstrations: list[EpisodeRows] = []
        if demonstrations is not None:
            check_demonstrations(spec, settings, demonstrations)
            kind = settings.discriminator.input
            self.demonstrations = demonstration_rows(demonstrations, kind, terminal=self.acts_at_end)

    @property
    def episodes_per_update(self) -> int:
        """Battles to play before each update."""
        return self.ippo.episodes_per_update

    @property
    def acts_at_end(self) -> bool:
        """Whether an update needs the policy's answers to the final observations."""
        return self.ippo.acts_at_end

    def policy(self) -> IPPOPolicy:
        """The current actors, sampling."""
        return self.ippo.policy()

    def greedy_policy(self) -> IPPOPolicy:
        """The current actors, each taking its most probable action."""
        return self.ippo.greedy_policy()

    def expert_rows(self, episodes: Episodes) -> list[EpisodeRows]:
        """What the discriminators are shown as the experts' in this update, per agent."""
        return self.demonstrations

    def own_rows(self, episodes: Episodes) -> list[EpisodeRows]:
        """What the discriminators are shown of played episodes, per agent."""
        return own_rows(episodes, self.discriminator_settings.input, terminal=self.acts_at_end)

    def learn(self, episodes: Episodes) -> dict[str, float]:
        """One update: discriminators first, then policies and critics on the reward that they pay.

        Returns:
            The metrics of `Discriminator.update` and `IPPO.update`, and gail_reward_mean: mean logit over agents and
            the steps in which they live.
        """
        metrics = self.discriminator.update(self.expert_rows(episodes), self.own_rows(episodes))
        batch, metrics["gail_reward_mean"] = self.judged_batch(episodes)
        return metrics | self.ippo.update(batch)

    def judged_batch(self, episodes: Episodes) -> tuple[Batch, float]:
        """What PPO learns from the reward that the discriminators pay, and their mean logit."""
        logits = self.discriminator.logits(episodes.obs, episodes.actions)
        terminal = logits.new_zeros(len(logits), episodes.n_episodes)
        if self.acts_at_end:
            assert episodes.final_actions is not None
            terminal = self.discriminator.logits(episodes.final_obs, episodes.final_actions)
        rewards = Rewards(
            self.reward(episodes.reward, logits),
            self.reward(0.0, terminal),
            self.reward(0.0, self.discriminator.zero_logit()),
        )
        return self.ippo.batch(episodes, rewards), float(logits[episodes.alive].mean())

    def reward(self, env_reward: Tensor | float, logit: Tensor) -> Tensor:
        """What an agent is paid; see `matching_reward`."""
        return matching_reward(env_reward, logit, self.settings.reward, self.discriminator_settings.reward_weight)

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that the next update depends on, by name."""
        discriminator = {f"discriminator.{name}": value for name, value in self.discriminator.state().items()}
        return self.ippo.state() | discriminator

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Go on from what `state` returned.

        Raises:
            ValueError: a tensor is missing or has another shape.
        """
        self.ippo.load_state(tensors)
        self.discriminator.load_state(entries_of(tensors, "discriminator"))

    def policy_state(self) -> dict[str, Tensor]:
        """What a policy file holds: the actors."""
        return self.ippo.policy_state()

    def judges_state(self) -> dict[str, Tensor]:
        """The critics and the discriminators; see `dm2.learners.interface.JudgedLearner`."""
        return self.ippo.judges_state() | {"discriminator.parameters": self.discriminator.state()["parameters"]}


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> DistributionMatching:
    """The learner of a run; see `dm2.settings.learners.AlgorithmSettings`."""
    return DistributionMatching(spec, settings, demonstrations)
