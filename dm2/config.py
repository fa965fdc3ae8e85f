"""Typed settings: every key has a type, bounds, a unit and a sentence; an unknown key is refused by its name.

The defaults are the numbers of the paper's code for most of its maps (Wang et al., AAAI 2023, appendix and public
code). `config/algorithms.yaml` holds what differs per map and `config/scales/*.yaml` what differs per scale;
`dm2.experiments` merges them into one `RunSettings` per run, written as the run's `settings.yaml`.

This module imports neither torch nor numba, so that `dm2 --help` and the planning of a workflow stay quick.
"""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from dm2.errors import UserError
from dm2.storage import atomic_write


def _no_truth_value(value: Any) -> Any:
    """Refuse `yes`, which is True in a YAML file and would count as 1."""
    if isinstance(value, bool):
        raise ValueError(f"found {value}, expected a number")
    return value


_Number = BeforeValidator(_no_truth_value)
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9_]+$")]
Seed = Annotated[int, Field(ge=0, lt=2**63), _Number]
Percent = Annotated[int, Field(ge=1, le=100), _Number]
Probability = Annotated[float, Field(ge=0.0, le=1.0), _Number]
Positive = Annotated[float, Field(gt=0.0), _Number]
NotNegative = Annotated[float, Field(ge=0.0), _Number]
Count = Annotated[int, Field(ge=1), _Number]

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200
"""How errors show what they found: a few bytes of YAML can stand for gigabytes."""

SCRIPTED_POLICIES = ("heuristic", "random")
"""Policies that nobody trains; see dm2.scripted."""


class SettingsError(UserError, ValueError):
    """A setting that does not exist or cannot be; the message names the key and the nearest valid one."""


def did_you_mean(found: str, valid: Iterable[str]) -> str:
    """The part of an error message that helps: the nearest valid name, or all of them if none is near."""
    names = sorted(valid)
    near = difflib.get_close_matches(found, names, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(names)}"


class Settings(BaseModel):
    """Base of all settings: frozen, closed (no unknown keys), readable from and writable to YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown key {key!r}; {did_you_mean(str(key), cls.model_fields)}")
        return data

    @classmethod
    def blocks(cls) -> dict[str, type[Settings]]:
        """The keys that hold settings of their own, and which."""
        annotations = {key: field.annotation for key, field in cls.model_fields.items()}
        candidates = {key: (one, *getattr(one, "__args__", ())) for key, one in annotations.items()}
        return {
            key: one
            for key, several in candidates.items()
            for one in several
            if isinstance(one, type) and issubclass(one, Settings)
        }

    @classmethod
    def from_mapping(cls, data: Any, source: str) -> Self:
        """Check `data` and build the settings.

        Args:
            data: what a YAML file held.
            source: where it came from, for the error message.

        Raises:
            SettingsError: an unknown key, a wrong type or an impossible value.
        """
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            raise SettingsError("\n".join(_explain(source, item) for item in error.errors())) from None

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Read settings from a YAML file; errors name the file, the key and what was expected."""
        return cls.from_mapping(read_yaml(path), str(path))

    def yaml_text(self) -> str:
        """Every setting, defaults included and absent blocks left out, so that two runs compare with `diff`."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_none=True), sort_keys=False, allow_unicode=True)

    def to_yaml(self, path: str | Path) -> None:
        """Write `yaml_text` to a file, whole or not at all."""
        with atomic_write(path, "w") as file:
            file.write(self.yaml_text())


def _explain(source: str, error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] not in ("value_error", "missing"):
        message = f"{message}, found {_SHORT.repr(error['input'])}"
    return f"{source}: {key}: {message}" if key else f"{source}: {message}"


class _AmbiguousYAML(yaml.YAMLError):
    """What YAML permits and its readers understand differently."""


class _Loader(yaml.SafeLoader):
    """Runs no code; refuses a key that stands twice, and numbers that look decimal and are not."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        lines: dict[Any, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if key_node.tag == "tag:yaml.org,2002:merge" or not isinstance(key_node, yaml.ScalarNode):
                continue
            key, line = self.construct_object(key_node), key_node.start_mark.line + 1
            if not isinstance(key, Hashable):
                continue  # refused below
            if key in lines:
                raise _AmbiguousYAML(
                    f"line {line}: found {key!r} again, first in line {lines[key]}; remove one of them"
                )
            lines[key] = line
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        return found

    def construct_number(self, node: Any) -> int | float:
        text = node.value.lstrip("+-").replace("_", "")
        if ":" in text or (text[:1] == "0" and text[1:2].isdigit() and "." not in text):
            raise _AmbiguousYAML(
                f"line {node.start_mark.line + 1}: found {node.value}, which some read as octal or as base 60; expected"
                " a decimal number without leading zeros, or quotes around a name"
            )
        is_int = node.tag == "tag:yaml.org,2002:int"
        number: int | float = self.construct_yaml_int(node) if is_int else self.construct_yaml_float(node)
        return number


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_number)


def read_yaml(path: str | Path) -> Any:
    """The content of a YAML file, read without running code; a file that is no YAML is refused by name.

    Refused too are a key that stands twice in a mapping, of which YAML takes the last, and 010 and 1:30, which it takes
    for 8 and 90.
    """
    try:
        return yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read ({error.strerror}); expected a readable file") from None
    except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError) as error:  # as of `!!bool maybe`
        raise SettingsError(f"{path}: not readable as YAML: {error}") from None


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
    """Builds the `Learner` (`dm2.training`) from EnvSpec and RunSettings; `module:attribute`, imported when needed."""
    policy: ClassVar[str]
    """Builds the `Policy` (`dm2.rollout`) from EnvSpec, a policy file's tensors, greedy and epsilon; likewise."""
    acts_by_epsilon: ClassVar[bool] = False
    """Whether its policy takes a share of random actions; if not, it samples its actions or takes the best."""


class IPPOSettings(AlgorithmSettings):
    """Independent PPO: one actor and one critic per agent, nothing shared."""

    learner = "dm2.ippo:build_learner"
    policy = "dm2.ippo:build_policy"

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

    learner = "dm2.qmix:build_learner"
    policy = "dm2.qmix:build_policy"
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

    learner = "dm2.rmappo:build_learner"
    policy = "dm2.rmappo:build_policy"

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


class DemonstrationSource(Settings):
    """Where demonstrations come from: which expert, how far trained, how noisy, how put together."""

    expert: Name
    """Condition whose run is the expert, e.g. ippo or qmix; or a policy that nobody trains, heuristic or random."""
    expert_seeds: tuple[Seed, ...] = ()
    """Seed of the expert's run; none given: the run with the highest final win rate, see `dm2.experts`. Of independent
    experts the seeds, one per agent. An expert that nobody trains has it for its battles alone."""
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


class SelfImitationSettings(Settings):
    """Self-imitation: the experts are the team's own best episodes so far, in the place of demonstrations."""

    stored_episodes: Count = 1024
    """Own episodes kept, those with the highest discounted returns."""


class CloningSettings(Settings):
    """Behavioural cloning: the actors imitate the demonstrations before training on the reward begins."""

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
    ippo: IPPOSettings | None = None
    """Settings of IPPO, for algorithm ippo."""
    qmix: QMIXSettings | None = None
    """Settings of QMIX, for algorithm qmix."""
    rmappo: RMAPPOSettings | None = None
    """Settings of R-MAPPO, for algorithm rmappo."""
    discriminator: DiscriminatorSettings | None = None
    """Settings of the discriminators, for the rewards gail and mixed."""
    demonstrations: DemonstrationSource | None = None
    """Source of the demonstrations, for the rewards gail and mixed and for cloning."""
    cloning: CloningSettings | None = None
    """Behavioural cloning of the demonstrations before training, for algorithm ippo with reward env."""
    self_imitation: SelfImitationSettings | None = None
    """Store of the team's own best episodes, for the rewards gail and mixed without demonstrations."""
    quirks: QuirkSettings = QuirkSettings()
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


ALGORITHMS = {name: block for name, block in RunSettings.blocks().items() if issubclass(block, AlgorithmSettings)}
"""The algorithms there are."""
