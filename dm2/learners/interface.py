"""What the training loop asks of an algorithm, and how it comes by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, runtime_checkable

from dm2.core.interface import EnvSpec
from dm2.play.rollout import Episodes, Policy
from dm2.settings.algorithms import check_given, learner_name, load
from dm2.settings.run import RunSettings

if TYPE_CHECKING:
    from torch import Tensor

    from dm2.play.demonstrations import Demonstrations


class Learner(Protocol):
    """What the loop asks of an algorithm."""

    @property
    def episodes_per_update(self) -> int:
        """Battles that each update learns from, all played at once."""

    @property
    def keeps_state(self) -> bool:
        """Whether `learn` needs the global state."""

    @property
    def acts_at_end(self) -> bool:
        """Whether `learn` needs what the policy answers the final observations."""

    def policy(self) -> Policy:
        """Who collects."""

    def greedy_policy(self) -> Policy:
        """Who is evaluated."""

    def learn(self, episodes: Episodes) -> dict[str, float]:
        """Update from episodes of `policy`; returns finite metrics, the columns of metrics.csv."""

    def state(self) -> dict[str, Tensor]:
        """Everything that training goes on from."""

    def load_state(self, tensors: dict[str, Tensor], /) -> None:
        """Go on from what `state` returned."""

    def policy_state(self) -> dict[str, Tensor]:
        """What a policy file holds."""


@runtime_checkable
class PretrainedLearner(Protocol):
    """A learner that learns something before the first battle."""

    def pretrain(self) -> dict[str, float]:
        """Do so; returns finite metrics, columns of the first row of metrics.csv."""


@runtime_checkable
class JudgedLearner(Protocol):
    """A learner with networks that judge what its policy does; the last policy file holds them too, to be looked at."""

    def judges_state(self) -> dict[str, Tensor]:
        """Their parameters, each under a name that begins with one of `dm2.play.policy_files.JUDGES`."""


def build_learner(spec: EnvSpec, settings: RunSettings, demonstrations: Demonstrations | None) -> Learner:
    """The learner that the settings ask for.

    Raises:
        SettingsError: demonstrations are missing, or given to a learner that reads none.
    """
    check_given(settings, demonstrations)
    learner: Learner = load(learner_name(settings))(spec, settings, demonstrations)
    return learner
