"""What the learners can be told: every key has a type, bounds, a unit and a sentence.

The defaults are the numbers of the paper's code for most of its maps (Wang et al., AAAI 2023, appendix and public
code).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from dm2.settings.base import Count, NotNegative, Positive, Probability, Settings, _Number


class QuirkSettings(Settings):
    """What the paper's code does and a textbook would not; each can change a result, each is a switch."""

    absorbing_zeros: bool = True
    """Padding and the steps after death count as an absorbing zero state in rewards, GAE, discriminator and critic, and
    an episode's final observation is one more row of all losses."""
    first_action_leak: bool = False
    """In training, the last-action input at t = 0 is the action about to be scored (rollouts see zeros)."""
    last_episode_left_out: bool = False
    """The last episode of each batch takes part in the advantages' mean and deviation, not in PPO's losses."""
    regeneration_pays: bool = True
    """The reward counts the absolute change of enemy shields, so that their regeneration pays too."""
    one_sided_huber: bool = False
    """The value loss ignores errors below -huber_delta instead of treating them linearly."""
    evict_before_insert: bool = False
    """Self-imitation removes its worst episode before it adds the new one, even if the new one is worse."""
    frozen_critic_head: bool = False
    """The critic's output layer keeps its random start; only the layers below it learn."""

    @model_validator(mode="before")
    @classmethod
    def _expand_preset(cls, data: Any) -> Any:
        if not isinstance(data, Mapping) or "preset" not in data:
            return data
        if data["preset"] != "as_the_papers_code":
            raise ValueError(f"unknown preset {data['preset']!r}; did you mean 'as_the_papers_code'?")
        given = {key: value for key, value in data.items() if key != "preset"}
        return dict.fromkeys(cls.model_fields, True) | given

    @classmethod
    def as_the_papers_code(cls) -> QuirkSettings:
        """All switches on, as in the paper's public code on a GPU."""
        return cls(**dict.fromkeys(cls.model_fields, True))


class AlgorithmSettings(Settings):
    """Base of the algorithms' blocks; the key of `RunSettings` that holds one is the algorithm's name."""

    learner: ClassVar[str]
    """Builds the `Learner` (`dm2.learners.interface`) from EnvSpec, RunSettings and Demonstrations, or None where the
    settings name none: `module:attribute`."""
    policy: ClassVar[str]
    """Builds the `Policy` (`dm2.play.rollout`) from EnvSpec, a policy file's tensors, greedy and epsilon; likewise."""
    acts_by_epsilon: ClassVar[bool] = False
    """Whether its policy takes a share of random actions; if not, it samples its actions or takes the best."""


class IPPOSettings(AlgorithmSettings):
    """Independent PPO: one actor and one critic per agent, nothing shared."""

    learner = "dm2.learners.ippo:build_learner"
    policy = "dm2.learners.ippo:build_policy"

    episodes_per_update: Count = 1024
    """Battles played, all at once, before each update."""
    ppo_epochs: Count = 15
    """Passes over the batch per update."""
    clip_epsilon: Positive = 0.2
    """Clip range of the probability ratio and of the value."""
    gamma: Probability = 0.99
    """Discount per environment step."""
    gae_lambda: Probability = 0.95
    """Lambda of the generalised advantage estimate."""
    learning_rate: Positive = 5e-4
    """Adam's step size, for actors and critics alike."""
    adam_epsilon: Positive = 1e-5
    """Adam's epsilon."""
    entropy_coefficient: NotNegative = 0.01
    """Weight of the entropy bonus."""
    value_loss_coefficient: Positive = 0.5
    """Weight of the value loss."""
    huber_delta: Positive = 10.0
    """Error beyond which the value loss is linear."""
    max_gradient_norm: Positive = 10.0
    """Gradient norm, per network, beyond which it is scaled down."""
    hidden_size: Count = 64
    """Units per hidden layer and in the GRU."""
    input: Literal["observation", "time"] = "observation"
    """What actors and critics see: own observation and last action, or the time step alone (open loop)."""


class DiscriminatorSettings(Settings):
    """The discriminator of each agent, its training and the weight of its reward (GAIL)."""

    learner: ClassVar[str] = "dm2.learners.distribution_matching:build_learner"
    """IPPO with discriminators around it; see `AlgorithmSettings`, as for the blocks below."""

    reward_weight: Positive = 0.3
    """c in r = r_env + c * logit; used by the mixed reward."""
    steps_per_update: Count = 120
    """Gradient steps before each policy update."""
    batch_episodes: Count = 64
    """Expert episodes and own episodes per gradient step, drawn without replacement."""
    learning_rate: Positive = 1e-3
    """Adam's step size."""
    gradient_penalty: NotNegative = 10.0
    """Weight of (||grad logit|| - 1)^2 between expert and own rows."""
    hidden_size: Count = 64
    """Units in each of the two tanh layers."""
    input: Literal["state", "state_action"] = "state"
    """What the discriminator sees: an observation, or an observation and the index of the action."""


class QMIXSettings(AlgorithmSettings):
    """QMIX: a shared recurrent agent and a monotonic mixer of the agents' values."""

    learner = "dm2.learners.qmix:build_learner"
    policy = "dm2.learners.qmix:build_policy"
    acts_by_epsilon = True

    n_battles: Count = 32
    """Battles played, all at once, before each update."""
    gradient_steps: Count = Field(default_factory=lambda data: data["n_battles"])
    """Gradient steps per update, each on a batch of its own; by default one per episode, as many as n_battles."""
    replay_episodes: Count = 5000
    """Episodes the replay buffer holds."""
    batch_episodes: Count = 32
    """Episodes per gradient step."""
    learning_rate: Positive = 5e-4
    """RMSprop's step size."""
    rmsprop_alpha: Probability = 0.99
    """RMSprop's smoothing."""
    rmsprop_epsilon: Positive = 1e-5
    """RMSprop's epsilon."""
    max_gradient_norm: Positive = 10.0
    """Gradient norm beyond which it is scaled down."""
    gamma: Probability = 0.99
    """Discount per environment step."""
    target_update_episodes: Count = 200
    """Episodes between two copies into the target network."""
    epsilon_start: Probability = 1.0
    """Share of random actions at the start."""
    epsilon_finish: Probability = 0.05
    """Share of random actions after annealing."""
    epsilon_anneal_env_steps: Count = 50_000
    """Environment steps over which the share of random actions falls linearly."""
    hidden_size: Count = 64
    """Units in the agent's layers and GRU."""
    mixer_embed: Count = 32
    """Units in the mixer's hidden layer."""
    hypernet_size: Count = 64
    """Units in the hidden layer of the hypernetworks."""

    @model_validator(mode="after")
    def _batch_fits_replay(self) -> Self:
        if self.batch_episodes > self.replay_episodes:
            raise ValueError(
                f"batch_episodes is {self.batch_episodes}, more than replay_episodes ({self.replay_episodes}) hold"
            )
        return self


class RMAPPOSettings(AlgorithmSettings):
    """R-MAPPO: one actor that all agents share, one critic that sees the global state."""

    learner = "dm2.learners.rmappo:build_learner"
    policy = "dm2.learners.rmappo:build_policy"

    n_battles: Count = 16
    """Battles played, all at once, per collection; as episodes are whole, a matter of speed alone."""
    steps_per_update: Count = 3200
    """Environment steps per update (the authors' 8 battles x 400 steps), as near as whole collections come."""
    ppo_epochs: Count = 15
    """Passes over the batch per update."""
    chunk_length: Count = 10
    """Steps through which gradients flow back in the GRUs."""
    clip_epsilon: Positive = 0.2
    """Clip range of the probability ratio and of the normalised value."""
    gamma: Probability = 0.99
    """Discount per environment step."""
    gae_lambda: Probability = 0.95
    """Lambda of the generalised advantage estimate."""
    learning_rate: Positive = 5e-4
    """Adam's step size, for actor and critic alike."""
    adam_epsilon: Positive = 1e-5
    """Adam's epsilon."""
    entropy_coefficient: NotNegative = 0.01
    """Weight of the entropy bonus."""
    value_loss_coefficient: Positive = 1.0
    """Weight of the value loss."""
    huber_delta: Positive = 10.0
    """Error, in normalised returns, beyond which the value loss is linear."""
    max_gradient_norm: Positive = 10.0
    """Gradient norm, per network, beyond which it is scaled down."""
    value_norm_beta: Probability = 0.99999
    """Smoothing of the returns' running mean and variance."""
    hidden_size: Count = 64
    """Units per hidden layer and in the GRUs."""


class SelfImitationSettings(Settings):
    """Self-imitation: the experts are the team's own best episodes so far, in the place of demonstrations."""

    learner: ClassVar[str] = "dm2.learners.self_imitation:build_learner"

    stored_episodes: Count = 1024
    """Own episodes kept, those with the highest discounted returns."""


class CloningSettings(Settings):
    """Behavioural cloning: the actors imitate the demonstrations before training on the reward begins."""

    learner: ClassVar[str] = "dm2.learners.cloning:build_learner"

    max_epochs: Count = 100
    """Passes over the demonstrations, at most."""
    patience: Count = 5
    """Passes in a row without a better held-out cross-entropy after which an agent stops."""
    held_out: Annotated[float, Field(gt=0.0, lt=1.0), _Number] = 0.1
    """Share of each agent's episodes kept apart to decide when to stop; at least one episode."""
    batch_episodes: Count = 32
    """Episodes per gradient step."""
    learning_rate: Positive = 1e-3
    """Adam's step size."""
