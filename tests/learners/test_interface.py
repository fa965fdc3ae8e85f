"""dm2.learners.interface: which learner the settings ask for."""

import pytest
from support.real_runs import real_run
from support.toy_training import SETTINGS

from dm2.backends.make_env import env_spec
from dm2.learners.distribution_matching import DistributionMatching
from dm2.learners.interface import build_learner
from dm2.learners.self_imitation import SelfImitation


def test_demonstrations_must_fit_the_reward() -> None:
    with pytest.raises(ValueError, match="reward 'env' needs no demonstrations, found some"):
        build_learner(None, SETTINGS, object())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="reward 'mixed' needs demonstrations, found none"):
        build_learner(None, real_run("dm2_ippo_demo")[0], None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="condition 'dm2_sil' with reward 'mixed' needs no demonstrations, found some"):
        build_learner(None, real_run("dm2_sil")[0], object())  # type: ignore[arg-type]


def test_the_settings_choose_store_and_input() -> None:
    spec = env_spec("simulator", "3m")
    settings, _ = real_run("dm2_sil")
    learner = build_learner(spec, settings, None)
    assert isinstance(learner, SelfImitation) and learner.store.capacity == 1024
    settings, archive = real_run("gail_only_state_action")
    learner = build_learner(spec, settings, archive)
    assert isinstance(learner, DistributionMatching) and archive is not None
    assert learner.demonstrations[0].rows[:, spec.obs_size].max() == archive.agents[0].actions.max()
