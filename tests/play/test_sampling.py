"""dm2.play.sampling: policies other than those that the settings name are refused."""

from pathlib import Path

import pytest

from dm2.backends.make_env import env_spec
from dm2.core.errors import UserError
from dm2.core.tensor_files import save_tensors
from dm2.learners.ippo import IPPO
from dm2.play.sampling import trained_experts
from dm2.settings.demonstrations import DemonstrationSettings
from dm2.settings.learners import IPPOSettings, QuirkSettings
from dm2.settings.run import DemonstrationSource, RunSettings

SMALL = IPPOSettings(hidden_size=8)


def policy_file(folder: Path, seed: int = 3, percent: int = 100, map_name: str = "3m", condition: str = "ippo") -> Path:
    settings = RunSettings(
        scale="test",
        map_name=map_name,
        condition=condition,
        seed=seed,
        algorithm="ippo",
        ippo=SMALL,
        env_steps=100,
        evaluation_interval=100,
        evaluation_episodes=1,
    )
    tensors = IPPO(env_spec("simulator", map_name), SMALL, QuirkSettings(), seed).policy_state()
    metadata = {"percent": percent, "env_steps": percent, "settings": settings.model_dump(mode="json")}
    path = folder / f"{map_name}-{condition}-{seed}-{percent}.safetensors"
    save_tensors(path, tensors, kind="policy", metadata=metadata)
    return path


def wanted(**source: object) -> DemonstrationSettings:
    return DemonstrationSettings(scale="test", map_name="3m", source=DemonstrationSource(expert="ippo", **source))


def test_the_policies_that_the_settings_name_demonstrate_in_their_order(tmp_path: Path) -> None:
    teams = wanted(expert_seeds=(5, 3), joint=False, checkpoint_percent=50)
    files = [policy_file(tmp_path, seed, 50) for seed in (5, 3)]
    assert trained_experts(teams, files).seeds == (5, 3)
    with pytest.raises(UserError, match="name the policies that the settings ask for, in their order"):
        trained_experts(teams, files[::-1])


@pytest.mark.parametrize("other", [{"seed": 4}, {"percent": 50}, {"map_name": "8m"}, {"condition": "ippo_other"}])
def test_a_policy_of_another_run_or_checkpoint_is_refused(tmp_path: Path, other: dict[str, object]) -> None:
    with pytest.raises(UserError) as refused:
        trained_experts(wanted(expert_seeds=(3,)), [policy_file(tmp_path, **other)])  # type: ignore[arg-type]
    found = {"map_name": "3m", "condition": "ippo", "seed": 3, "percent": 100} | other
    assert f"found (map, condition, seed, percent) [{tuple(found.values())}], expected [('3m', 'ippo', 3, 100)]" in str(
        refused.value
    )


def test_of_a_chosen_expert_any_seed_is_taken_but_one_policy_alone(tmp_path: Path) -> None:
    files = [policy_file(tmp_path, seed) for seed in (3, 4)]
    assert trained_experts(wanted(), files[1:]).seeds == (4,)
    with pytest.raises(UserError, match="policies: found 2, expected one, the expert's, as keep-expert leaves it"):
        trained_experts(wanted(), files)
    with pytest.raises(UserError, match="found 0, expected one"):
        trained_experts(wanted(), [])
    with pytest.raises(UserError, match=r"expected \[\('3m', 'ippo', 3, 100\)\]"):
        trained_experts(wanted(), [policy_file(tmp_path, percent=50)])
