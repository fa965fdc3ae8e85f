"""dm2.play.policy_files: a policy from its file's tensors plays as the learner's own."""

from pathlib import Path

import numpy as np
import pytest
import torch
from support.fake_env import FakeEnv, FakeSpec

from dm2.core.errors import UserError
from dm2.core.tensor_files import save_tensors
from dm2.learners.ippo import IPPO
from dm2.learners.open_loop import OpenLoopIPPO
from dm2.learners.qmix import QMIX
from dm2.learners.rmappo import RMAPPO
from dm2.play.evaluation import evaluate
from dm2.play.experts import ExpertChoice
from dm2.play.policy_files import policy_from_state, read_policy
from dm2.play.rollout import collect
from dm2.settings.learners import IPPOSettings, QMIXSettings, QuirkSettings, RMAPPOSettings
from dm2.settings.run import RunSettings

SPEC = FakeSpec()
COMMITTED = sorted(Path(__file__).parents[2].glob("results/*/experts/*/*/*.safetensors"))


def run_of(algorithm, **block):
    """Settings of a run of the algorithm."""
    lengths = {"env_steps": 10, "evaluation_interval": 10, "evaluation_episodes": 1}
    who = {"scale": "test", "map_name": "fake", "condition": "test", "seed": 0, "algorithm": algorithm}
    return RunSettings.model_validate(who | lengths | {algorithm: block})


def play(policy):
    return collect(FakeEnv(6), policy, np.arange(6), np.random.default_rng(0))


def ippo(spec=SPEC):
    return IPPO(spec, IPPOSettings(hidden_size=8), QuirkSettings(), seed=0)


def qmix(spec=SPEC):
    return QMIX(spec, QMIXSettings(hidden_size=8), QuirkSettings(), seed=0)


def rmappo(spec=SPEC):
    return RMAPPO(spec, RMAPPOSettings(hidden_size=8), QuirkSettings(), seed=0)


def test_rmappo_samples_by_default():
    learner = rmappo()
    own, again = play(learner.policy()), play(policy_from_state(SPEC, run_of("rmappo"), learner.policy_state(), "100"))
    assert torch.equal(own.actions, again.actions)


def test_ippo_samples_by_default_and_records_nothing():
    learner = ippo()
    own, again = play(learner.policy()), play(policy_from_state(SPEC, run_of("ippo"), learner.policy_state(), "100"))
    assert torch.equal(own.actions, again.actions) and torch.equal(own.reward, again.reward)
    assert again.extras == {}


def test_ippo_with_its_critics_records_what_its_learner_does():
    for name, learner in (
        ("observation", ippo()),
        ("time", OpenLoopIPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), 0)),
    ):
        tensors = learner.policy_state() | learner.judges_state()
        own, again = play(learner.policy()), play(policy_from_state(SPEC, run_of("ippo", input=name), tensors, "100"))
        torch.testing.assert_close(again.extras, own.extras, rtol=0, atol=0)


def test_ippo_greedy():
    learner = ippo()
    own = play(learner.greedy_policy())
    again = play(policy_from_state(SPEC, run_of("ippo"), learner.policy_state(), "100", greedy=True))
    assert torch.equal(own.actions, again.actions)


@pytest.mark.parametrize("greedy", [True, False])
def test_open_loop(greedy):
    learner = OpenLoopIPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), seed=0)
    tensors = learner.policy_state()
    own = play(learner.greedy_policy() if greedy else learner.policy())
    again = play(policy_from_state(SPEC, run_of("ippo", input="time"), tensors, "100", greedy=greedy))
    assert torch.equal(own.actions, again.actions)
    assert again.extras == {}
    with pytest.raises(UserError, match="100: not a policy of ippo for fake"):
        policy_from_state(SPEC, run_of("ippo"), tensors, "100")


def test_qmix_acts_by_epsilon():
    learner = qmix()
    greedy = play(policy_from_state(SPEC, run_of("qmix"), learner.policy_state(), "100"))
    random = play(policy_from_state(SPEC, run_of("qmix"), learner.policy_state(), "100", epsilon=1.0))
    assert torch.equal(greedy.actions, play(learner.greedy_policy()).actions)
    assert not torch.equal(greedy.reward, random.reward)


@pytest.mark.parametrize(("algorithm", "learner"), [("ippo", ippo), ("qmix", qmix), ("rmappo", rmappo)])
def test_policy_of_another_map_is_refused_with_its_file(algorithm, learner):
    tensors = learner(FakeSpec(obs_size=5)).policy_state()
    with pytest.raises(UserError, match=rf"runs/100: not a policy of {algorithm} for fake .*found shape"):
        policy_from_state(SPEC, run_of(algorithm), tensors, "runs/100")


def test_critics_of_another_size_than_their_actors_are_refused():
    larger = IPPO(SPEC, IPPOSettings(hidden_size=16), QuirkSettings(), seed=0)
    with pytest.raises(UserError, match=r"critic.head.weight: found shape \[2, 16, 1\], expected \[2, 8, 1\]"):
        policy_from_state(SPEC, run_of("ippo"), ippo().policy_state() | larger.judges_state(), "100")


def test_policy_of_a_map_that_is_not_there_is_refused_with_its_file(tmp_path):
    path = tmp_path / "100.safetensors"
    metadata = {"percent": 100, "env_steps": 10, "settings": run_of("ippo").model_dump(mode="json")}
    save_tensors(path, ippo().policy_state(), kind="policy", metadata=metadata)
    with pytest.raises(UserError, match=r"100.safetensors: unknown map 'fake'"):
        read_policy(path)


def test_policy_of_another_algorithm_is_refused():
    with pytest.raises(UserError, match="not a policy of ippo"):
        policy_from_state(SPEC, run_of("ippo"), qmix().policy_state(), "100")
    with pytest.raises(UserError, match="not a policy of qmix"):
        policy_from_state(SPEC, run_of("qmix"), ippo().policy_state(), "100")


def test_epsilon_is_refused_where_it_would_do_nothing():
    with pytest.raises(UserError, match=r"epsilon: found 0.1"):
        policy_from_state(SPEC, run_of("ippo"), ippo().policy_state(), "100", epsilon=0.1)


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: "-".join(path.parts[-4:-1]))
def test_a_committed_expert_is_the_one_that_was_chosen_and_plays(path: Path) -> None:
    choice = ExpertChoice.from_yaml(path.parent.with_suffix(".yaml"))
    file = read_policy(path, greedy=True)
    found = (file.settings.scale, file.settings.map_name, file.settings.condition, file.settings.seed)
    assert found == (choice.scale, choice.map_name, choice.condition, choice.seed)
    assert f"{file.percent:03d}" == path.stem
    assert evaluate(file.policy, "simulator", choice.map_name, seed=1, n_episodes=8).n_episodes == 8
