import shutil
from pathlib import Path
from typing import Any

import pytest

from dm2.config import SettingsError
from dm2.experiments import Matrix, Run, map_names, merge, n_agents, scale_names

CONFIG = Path(__file__).parent.parent / "config"
PAPER_SEEDS = (112358, 1285842, 78590, 119527, 122529)


def load(scale: str, **overrides: Any) -> Matrix:
    return Matrix.load(CONFIG, {"scale": scale, **overrides})


def refused(scale: str = "quick", **overrides: Any) -> str:
    with pytest.raises(SettingsError) as error:
        load(scale, **overrides)
    return str(error.value)


@pytest.mark.parametrize("scale", scale_names(CONFIG))
def test_every_scale_loads_and_every_run_has_settings(scale: str) -> None:
    matrix = load(scale)
    assert matrix.scale.scale == scale
    assert [matrix.settings(run).condition for run in matrix.runs] == [run.condition for run in matrix.runs]


def test_the_default_scale_is_quick() -> None:
    assert Matrix.load(CONFIG).scale.scale == "quick"


# clip, epochs, episodes per update, reward weight, evaluation episodes: spec of the paper's code
@pytest.mark.parametrize(
    ("map_name", "expected"),
    [
        ("5m_vs_6m", (0.05, 10, 256, 0.3, 128)),
        ("3s_vs_4z", (0.2, 15, 1024, 0.05, 32)),
        ("3s_vs_3z", (0.2, 15, 1024, 0.3, 32)),
        ("3s_vs_5z", (0.2, 15, 1024, 0.1, 32)),
        ("8m_vs_9m", (0.2, 15, 1024, 0.4, 32)),
    ],
)
def test_paper_scale_has_the_papers_numbers(map_name: str, expected: tuple[float, ...]) -> None:
    settings = load("paper").settings(Run(map_name, "dm2_qmix_demo", 112358))
    ippo, discriminator = settings.ippo, settings.discriminator
    assert ippo is not None and discriminator is not None
    found = (ippo.clip_epsilon, ippo.ppo_epochs, ippo.episodes_per_update, discriminator.reward_weight)
    assert (*found, settings.evaluation_episodes) == expected
    assert (settings.env_steps, settings.evaluation_interval) == (10_050_000, 50_000)
    assert (discriminator.steps_per_update, discriminator.batch_episodes) == (120, 64)


def test_paper_scale_is_five_maps_and_five_seeds() -> None:
    matrix = load("paper")
    assert matrix.scale.seeds == PAPER_SEEDS
    assert set(matrix.scale.runs) == {"5m_vs_6m", "3s_vs_4z", "3s_vs_3z", "3s_vs_5z", "8m_vs_9m"}
    assert len(matrix.runs) == 5 * (14 + 14 + 5 + 5 + 5)


@pytest.mark.parametrize(
    ("map_name", "epsilon"),
    [("5m_vs_6m", 0.0), ("3s_vs_4z", 0.0), ("3s_vs_3z", 0.1), ("3s_vs_5z", 0.1), ("8m_vs_9m", 0.1)],
)
def test_noise_of_qmix_demonstrations(map_name: str, epsilon: float) -> None:
    source = load("paper").settings(Run(map_name, "dm2_qmix_demo", 78590)).demonstrations
    assert source is not None
    assert (source.expert, source.epsilon, source.checkpoint_percent, source.episodes) == ("qmix", epsilon, 100, 1000)


def test_all_seeds_share_one_archive_of_the_papers_expert() -> None:
    matrix = load("paper")
    archives = {matrix.demonstration_settings(Run("3s_vs_4z", "dm2_ippo_demo_50", seed)) for seed in PAPER_SEEDS}
    (archive,) = archives
    assert archive is not None
    assert archive.name == "ippo_050_seed-119527_episodes-1000"
    assert archive.experts == (Run("3s_vs_4z", "ippo", 119527),)


def test_the_ladder_names_percent_and_the_papers_counterpart() -> None:
    condition = load("paper").conditions["dm2_ippo_demo_70"]
    assert condition.label == "DM², IPPO demonstrations at 70 %"
    assert condition.paper_condition == "dm2_ippo_demo_7m"
    assert condition.settings["demonstrations"] == {"expert": "ippo", "checkpoint_percent": 70}


def test_a_missing_expert_is_trained_and_a_learner_is_not_trained_twice() -> None:
    only_dm2 = load("smoke", runs={"3m": ["dm2_ippo_demo"]})
    assert set(only_dm2.runs) - set(only_dm2.learners) == {Run("3m", "ippo", 112358)}
    both = load("smoke", runs={"3m": ["ippo", "dm2_ippo_demo"]})
    assert both.runs == both.learners


def test_later_layers_win_and_other_maps_stay() -> None:
    matrix = load("smoke", maps={"8m": {"ippo": {"gamma": 0.5}}})
    changed, other = (matrix.settings(Run(name, "ippo", 1)).ippo for name in ("8m", "3m"))
    assert changed is not None and other is not None
    assert (changed.gamma, other.gamma) == (0.5, 0.99)
    assert changed.ppo_epochs == other.ppo_epochs == 2  # from the scale, which beats the paper's 15


def test_independent_experts_are_one_run_per_agent() -> None:
    layer = {"demonstrations": {"joint": False, "concurrent": False}}
    matrix = load("laptop", runs={"5m_vs_6m": ["dm2_ippo_demo_50"]}, defaults=layer)
    (archive,) = matrix.demonstrations.values()
    assert [run.seed for run in archive.experts] == list(PAPER_SEEDS)
    assert archive.name.endswith("_nonconcurrent_independent")


def with_condition(folder: Path, name: str, demonstrations: str) -> Path:
    """A copy of the configuration with one more condition that learns from these demonstrations."""
    config = Path(shutil.copytree(CONFIG, folder / "config"))
    experiments = config / "experiments.yaml"
    condition = (
        f"  {name}: {{label: x, settings: {{algorithm: ippo, reward: mixed, demonstrations: {demonstrations}}}}}"
    )
    experiments.write_text(experiments.read_text().replace("conditions:", f"conditions:\n{condition}", 1))
    return config


def test_a_scripted_expert_needs_no_run() -> None:
    matrix = load("smoke", runs={"3m": ["dm2_heuristic_demo"]})
    (archive,) = matrix.demonstrations.values()
    assert archive.experts == ()
    assert (archive.source.expert, archive.backend) == ("heuristic", "simulator")
    assert {run.condition for run in matrix.runs} == {"dm2_heuristic_demo"}


@pytest.mark.parametrize(
    ("name", "demonstrations", "message"),
    [
        ("dm2_x", "{expert: heuristc}", "unknown condition 'heuristc'; did you mean 'heuristic'?"),
        ("dm2_x", "{expert: random, epsilon: 0.5}", "epsilon: found 0.5 for the random expert; leave it out"),
        ("dm2_x", "{expert: heuristic, checkpoint_percent: 50}", "checkpoint_percent: found 50 for the expert 'heur"),
        ("dm2_x", "{expert: heuristic, joint: false}", "independent experts need 3 different seeds"),
        ("heuristic", "{expert: ippo}", "conditions: 'heuristic' is a policy that nobody trains; rename it"),
    ],
)
def test_impossible_scripted_experts_are_refused(tmp_path: Path, name: str, demonstrations: str, message: str) -> None:
    config = with_condition(tmp_path, name, demonstrations)
    with pytest.raises(SettingsError) as error:
        Matrix.load(config, {"scale": "smoke", "runs": {"3m": [name]}})
    assert message in str(error.value)


def test_archives_that_differ_in_any_key_have_different_names() -> None:
    layers = [{}, {"episodes": 5}, {"concurrent": False}, {"expert_seeds": [3]}, {"epsilon": 0.5}]
    names = []
    for condition in ("dm2_ippo_demo", "dm2_ippo_demo_50", "dm2_qmix_demo"):
        for layer in layers:
            matrix = load("smoke", maps={"3m": {"demonstrations": layer}})
            archive = matrix.demonstration_settings(Run("3m", condition, 1))
            assert archive is not None
            names.append(archive.name)
    assert len(set(names)) == 3 * len(layers)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scale": "papr"}, "unknown scale 'papr'; did you mean 'paper'?"),
        ({"backend": "simulatr"}, "unknown backend 'simulatr'; did you mean 'simulator'?"),
        ({"sedes": [1]}, "unknown key 'sedes'; did you mean 'seeds'?"),
        ({"runs": {"5m_v_6m": ["ippo"]}}, "unknown map '5m_v_6m'; did you mean '5m_vs_6m'?"),
        ({"runs": {"3m": ["ipppo"]}}, "runs.3m: unknown condition 'ipppo'; did you mean 'ippo'?"),
        ({"maps": {"3n": {}}}, "maps: unknown map '3n'; did you mean '3m'?"),
        ({"defaults": {"env_step": 1}}, "defaults: unknown key 'env_step'; did you mean 'env_steps'?"),
        ({"defaults": {"qmix": {"lr": 1}}}, "defaults.qmix: unknown key 'lr'"),
        ({"defaults": {"ippo": {"gamma": 2}}}, "condition 'ippo' on '3m' at scale 'quick': ippo.gamma"),
        ({"defaults": {"demonstrations": {"joint": False}}}, "independent experts need 3 different seeds"),
        (
            {"defaults": {"policy_percents": [50, 100]}, "runs": {"3m": ["dm2_ippo_demo_10"]}},
            "demonstrations.checkpoint_percent: 'ippo' keeps no policy at 10 %; its policy_percents are [50, 100]",
        ),
    ],
)
def test_what_does_not_exist_is_refused_at_planning_time(overrides: dict[str, Any], message: str) -> None:
    assert message in refused(**{"scale": "quick", **overrides})


def test_figures_show_the_maps_that_run_their_conditions() -> None:
    matrix = load("smoke", runs={"3m": ["ippo"], "8m": ["dm2_ippo_demo_50"]})
    assert matrix.figure_maps("core") == ("3m",)
    with pytest.raises(SettingsError, match="unknown figure 'cor'; did you mean 'core'"):
        matrix.figure_maps("cor")


def test_merge_goes_into_nested_mappings() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_maps_are_those_of_the_simulator() -> None:
    assert n_agents("5m_vs_6m") == 5
    assert {"3m", "8m", "2s3z", "3s_vs_5z", "6h_vs_8z"} <= set(map_names())
