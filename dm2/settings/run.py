"""The settings of one run: everything that its numbers depend on, as its `settings.yaml` holds it.

`config/algorithms.yaml` holds what differs per map and `config/scales/*.yaml` what differs per scale;
`dm2.settings.matrix` merges them into one `RunSettings` per run.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from dm2.settings import learners
from dm2.settings.base import Count, Name, Percent, Probability, Seed, Settings, did_you_mean

BACKENDS = ("simulator", "starcraft2")
"""Battle engines; see dm2.backends.make_env."""

SCRIPTED_POLICIES = ("heuristic", "random")
"""Policies that nobody trains; see dm2.play.scripted."""


class DemonstrationSource(Settings):
    """Where demonstrations come from: which expert, how far trained, how noisy, how put together."""

    expert: Name
    """Condition whose run is the expert, e.g. ippo or qmix; or a policy that nobody trains, heuristic or random."""
    expert_seeds: tuple[Seed, ...] = ()
    """Seed of the expert's run; none given: the run with the highest final win rate, see `dm2.play.experts`. Of
    independent experts the seeds, one per agent. An expert that nobody trains has it for its battles alone."""
    checkpoint_percent: Percent = 100
    """Checkpoint sampled, in percent of the expert's training."""
    epsilon: Probability = 0.0
    """Share of random actions while a QMIX or heuristic expert is sampled; IPPO experts sample from their policy."""
    episodes: Count = 1000
    """Episodes per agent."""
    concurrent: bool = True
    """True: all agents see the same episodes; False: each agent gets episodes of its own."""
    joint: bool = True
    """True: all agents' demonstrations come from one team; False: agent i's from the i-th of several teams, which play
    as one mixed team if concurrent."""

    @model_validator(mode="after")
    def _seeds_fit(self) -> Self:
        if self.joint and len(self.expert_seeds) > 1:
            raise ValueError(f"joint experts are one run: expected one expert seed, found {len(self.expert_seeds)}")
        return self

    @model_validator(mode="after")
    def _scripted_fits(self) -> Self:
        if self.is_scripted and self.checkpoint_percent != 100:
            raise ValueError(
                f"checkpoint_percent: found {self.checkpoint_percent} for the expert {self.expert!r}, which nobody"
                " trains; leave it out"
            )
        if self.expert == "random" and self.epsilon:
            raise ValueError(f"epsilon: found {self.epsilon} for the random expert; leave it out")
        return self

    @property
    def is_scripted(self) -> bool:
        """Whether the expert is a policy that nobody trains."""
        return self.expert in SCRIPTED_POLICIES

    @property
    def is_chosen(self) -> bool:
        """Whether the expert is the run that wins most in the end, known once all candidates have finished."""
        return self.joint and not self.is_scripted and not self.expert_seeds


class RunSettings(Settings):
    """Everything one run depends on; the run's `settings.yaml` is exactly this."""

    scale: Name
    """Scale the run belongs to, e.g. quick or paper."""
    backend: Name = "simulator"
    """Engine that plays the battles."""
    map_name: Name
    """SMAC map, e.g. 5m_vs_6m."""
    condition: Name
    """Experimental condition, e.g. dm2_ippo_demo."""
    seed: Seed
    """Seed of all random streams of the run."""
    algorithm: Annotated[str, Field(json_schema_extra=lambda schema: schema.update(enum=list(ALGORITHMS)))]
    """Learner."""
    reward: Literal["env", "gail", "mixed"] = "env"
    """env: the task's reward; gail: the discriminator's logit; mixed: env + reward_weight * logit."""
    env_steps: Count
    """Training length in environment steps."""
    evaluation_interval: Count
    """Environment steps between evaluations."""
    evaluation_episodes: Count
    """Battles per evaluation, greedy actions."""
    policy_percents: tuple[Percent, ...] = (10, 20, 30, 40, 50, 60, 70, 80, 90, 100)
    """Points of training, in percent, whose policies are kept."""
    ippo: learners.IPPOSettings | None = None
    """Settings of IPPO, for algorithm ippo."""
    qmix: learners.QMIXSettings | None = None
    """Settings of QMIX, for algorithm qmix."""
    rmappo: learners.RMAPPOSettings | None = None
    """Settings of R-MAPPO, for algorithm rmappo."""
    discriminator: learners.DiscriminatorSettings | None = None
    """Settings of the discriminators, for the rewards gail and mixed."""
    demonstrations: DemonstrationSource | None = None
    """Source of the demonstrations, for the rewards gail and mixed and for cloning."""
    cloning: learners.CloningSettings | None = None
    """Behavioural cloning of the demonstrations before training, for algorithm ippo with reward env."""
    self_imitation: learners.SelfImitationSettings | None = None
    """Store of the team's own best episodes, for the rewards gail and mixed without demonstrations."""
    quirks: learners.QuirkSettings = learners.QuirkSettings()
    """Which quirks of the paper's code are on."""

    @property
    def is_open_loop(self) -> bool:
        """Whether the policies see the time step alone."""
        return self.ippo is not None and self.ippo.input == "time"

    @field_validator("algorithm")
    @classmethod
    def _algorithm_exists(cls, name: str) -> str:
        if name not in ALGORITHMS:
            raise ValueError(f"unknown algorithm {name!r}; {did_you_mean(name, ALGORITHMS)}")
        return name

    @model_validator(mode="after")
    def _blocks_fit(self) -> Self:
        matching = self.reward != "env"
        if matching and self.demonstrations is not None and self.self_imitation is not None:
            raise ValueError("demonstrations, self_imitation: found both blocks, expected one; remove the other")
        needed = {name: name == self.algorithm for name in ALGORITHMS} | {
            "discriminator": matching,
            "demonstrations": (matching and self.self_imitation is None) or self.cloning is not None,
            "cloning": self.cloning is not None and self.algorithm == "ippo" and not matching,
            "self_imitation": matching and self.demonstrations is None,
        }
        why = f"algorithm {self.algorithm!r} with reward {self.reward!r}"
        for key, is_needed in needed.items():
            if is_needed and getattr(self, key) is None:
                raise ValueError(f"{why} needs the block {key!r}")
            if not is_needed and getattr(self, key) is not None:
                raise ValueError(f"{why} does not read the block {key!r}; remove it")
        if matching and self.algorithm != "ippo":
            raise ValueError(f"reward {self.reward!r} needs algorithm 'ippo', found {self.algorithm!r}")
        return self

    @model_validator(mode="after")
    def _open_loop_fits(self) -> Self:
        if self.is_open_loop and (self.reward != "env" or self.cloning is not None):
            raise ValueError(
                f"ippo.input: found 'time' with reward {self.reward!r} and cloning {self.cloning is not None}, expected"
                " reward 'env' and no cloning: an open-loop policy is a control, it learns from the task alone"
            )
        return self

    @model_validator(mode="after")
    def _minibatches_fit(self) -> Self:
        if self.discriminator is None or self.ippo is None:
            return self
        batch = self.discriminator.batch_episodes
        drawn_from = {"ippo.episodes_per_update": self.ippo.episodes_per_update}
        if self.demonstrations is not None:
            drawn_from["demonstrations.episodes"] = self.demonstrations.episodes
        if self.self_imitation is not None:
            drawn_from["self_imitation.stored_episodes"] = self.self_imitation.stored_episodes
        for name, episodes in drawn_from.items():
            if episodes < batch:
                raise ValueError(
                    f"discriminator.batch_episodes: found {batch}, more than {name} ({episodes}), from which they are"
                    " drawn; lower the one or raise the other"
                )
        return self

    @model_validator(mode="after")
    def _an_episode_is_left(self) -> Self:
        if self.ippo is not None and self.quirks.last_episode_left_out and self.ippo.episodes_per_update < 2:
            raise ValueError(
                "quirks.last_episode_left_out: found true with ippo.episodes_per_update 1, expected 2 episodes or more:"
                " the last one is not learned from"
            )
        return self

    @model_validator(mode="after")
    def _episodes_can_be_held_out(self) -> Self:
        if self.cloning is not None and self.demonstrations is not None and self.demonstrations.episodes < 2:
            raise ValueError(
                f"demonstrations.episodes: found {self.demonstrations.episodes}, expected 2 or more: cloning holds some"
                " out"
            )
        return self

    @model_validator(mode="after")
    def _lengths_fit(self) -> Self:
        if self.evaluation_interval > self.env_steps:
            raise ValueError(f"evaluation_interval {self.evaluation_interval} exceeds env_steps {self.env_steps}")
        percents = self.policy_percents
        if list(percents) != sorted(set(percents)) or percents[-1:] != (100,):
            raise ValueError(f"policy_percents must rise and end with 100, found {list(percents)}")
        return self


ALGORITHMS = {
    name: block for name, block in RunSettings.blocks().items() if issubclass(block, learners.AlgorithmSettings)
}
"""The algorithms there are."""
