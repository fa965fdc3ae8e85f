import csv
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from snakemake.cli import parse_config

from dm2.settings.base import SettingsError
from dm2.settings.files import map_names, merge, n_agents, scale_names
from dm2.settings.learners import QuirkSettings
from dm2.settings.matrix import Matrix, Run
from dm2.training.evaluations import ABSOLUTE_FACTOR

CONFIG = Path(__file__).parents[2] / "config"
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
        ("3s_vs_5z", (0.05, 15, 1024, 0.1, 32)),
        ("8m_vs_9m", (0.05, 15, 1024, 0.4, 32)),
        ("6h_vs_8z", (0.2, 5, 1024, 0.05, 32)),
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


@pytest.mark.parametrize("scale", scale_names(CONFIG))
def test_qmix_makes_a_gradient_step_per_episode_unless_the_scale_says_so(scale: str) -> None:
    matrix = load(scale)
    blocks = [qmix for run in matrix.runs if (qmix := matrix.settings(run).qmix) is not None]
    departs = any(block.gradient_steps != block.n_battles for block in blocks)
    assert bool(blocks) == (scale != "calibration")  # which trains no QMIX
    assert departs == (scale == "smoke")
    comments = re.findall(r"^#.*", (CONFIG / "scales" / f"{scale}.yaml").read_text(), flags=re.MULTILINE)
    said = " ".join(line.removeprefix("#").strip() for line in comments)
    assert bool(re.search(r"gradient step per \w+ episodes instead of one per episode", said)) == departs


@pytest.mark.parametrize(
    ("map_name", "clip_epsilon", "ppo_epochs"),
    [
        ("5m_vs_6m", 0.05, 10),
        ("3s_vs_4z", 0.2, 15),
        ("3s_vs_3z", 0.2, 15),
        ("3s_vs_5z", 0.05, 15),
        ("8m_vs_9m", 0.05, 15),
    ],
)
def test_rmappo_has_the_papers_clip_and_epochs(map_name: str, clip_epsilon: float, ppo_epochs: int) -> None:
    rmappo = load("paper").settings(Run(map_name, "rmappo", 112358)).rmappo
    assert rmappo is not None
    assert (rmappo.clip_epsilon, rmappo.ppo_epochs) == (clip_epsilon, ppo_epochs)


def test_paper_scale_is_five_maps_and_five_seeds() -> None:
    matrix = load("paper")
    assert matrix.scale.seeds == PAPER_SEEDS
    assert set(matrix.scale.runs) == {"5m_vs_6m", "3s_vs_4z", "3s_vs_3z", "3s_vs_5z", "8m_vs_9m"}
    assert len(matrix.runs) == 5 * (25 + 13 + 1 + 21 + 7 + 7 + 7 + 2 * 5 + 4 + 4)


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
    assert archive.name == "ippo_050_episodes-1000"
    assert archive.source.is_chosen and archive.source.expert_seeds == ()
    assert matrix.experts(archive) == tuple(Run("3s_vs_4z", "ippo", seed) for seed in PAPER_SEEDS)
    assert matrix.choices["3s_vs_4z", "ippo"] == matrix.experts(archive)


def test_greedy_play_of_experts_is_measured_as_long_as_the_absolute_metric() -> None:
    archive = load("paper").demonstration_settings(Run("5m_vs_6m", "dm2_ippo_demo_50", 1))
    assert archive is not None and archive.greedy_episodes == ABSOLUTE_FACTOR * 128


def test_no_scale_types_in_who_the_expert_is() -> None:
    for scale in scale_names(CONFIG):
        chosen = [one.source.is_chosen for one in load(scale).demonstrations.values() if one.source.joint]
        assert all(chosen)


def test_a_pinned_expert_is_the_only_one_trained() -> None:
    pin = {"3m": {"demonstrations": {"expert_seeds": [7]}}}
    by_key = load("smoke", runs={"3m": ["dm2_ippo_demo"]}, maps=pin)
    (archive,) = by_key.demonstrations.values()
    assert archive.name == "ippo_100_episodes-32_seed-7" and by_key.choices == {}
    by_scale = load("smoke", runs={"3m": ["dm2_ippo_demo"]}, expert_seeds=[7])
    for matrix in (by_key, by_scale):
        assert set(matrix.runs) - set(matrix.learners) == {Run("3m", "ippo", 7)}


def test_the_ladder_names_percent_and_the_papers_counterpart() -> None:
    condition = load("paper").conditions["dm2_ippo_demo_70"]
    assert condition.label == "DM², IPPO demonstrations at 70 %"
    assert condition.paper_condition == "dm2_ippo_demo_7m"
    assert condition.settings["demonstrations"] == {"expert": "ippo", "checkpoint_percent": 70}


def test_a_missing_expert_is_trained_and_a_learner_is_not_trained_twice() -> None:
    only_dm2 = load("smoke", runs={"3m": ["dm2_ippo_demo"]})
    assert set(only_dm2.runs) - set(only_dm2.learners) == {Run("3m", "ippo", seed) for seed in (112358, 1285842, 78590)}
    both = load("smoke", runs={"3m": ["ippo", "dm2_ippo_demo"]})
    assert set(both.runs) - set(both.learners) == {Run("3m", "ippo", 78590)}


def test_later_layers_win_and_other_maps_stay() -> None:
    matrix = load("smoke", maps={"8m": {"ippo": {"gamma": 0.5}}})
    changed, other = (matrix.settings(Run(name, "ippo", 1)).ippo for name in ("8m", "3m"))
    assert changed is not None and other is not None
    assert (changed.gamma, other.gamma) == (0.5, 0.99)
    assert changed.ppo_epochs == other.ppo_epochs == 2  # from the scale, which beats the paper's 15


def test_a_scale_changes_one_condition_of_a_map_on_top_of_the_map() -> None:
    layers = {"8m": {"evaluation_episodes": 7, "ippo": {"gamma": 0.5}}}, {"8m": {"ippo": {"evaluation_episodes": 9}}}
    matrix = load("smoke", maps=layers[0], by_run=layers[1])
    ippo, rmappo = (matrix.settings(Run("8m", name, 1)) for name in ("ippo", "rmappo"))
    assert ippo.ippo is not None
    assert (ippo.evaluation_episodes, ippo.ippo.gamma, rmappo.evaluation_episodes) == (9, 0.5, 7)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ({"3n": {}}, r"smoke.yaml: by_run: unknown map '3n'; did you mean '3m'"),
        ({"3m": {"ipo": {}}}, r"smoke.yaml: by_run.3m: unknown condition 'ipo'; did you mean 'ippo'\?"),
        ({"3m": {"ippo": {"env_step": 9}}}, r"by_run.3m.ippo: unknown key 'env_step'; did you mean 'env_steps'\?"),
    ],
)
def test_a_scale_that_changes_what_is_not_there_is_refused(layer: dict[str, object], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load("smoke", by_run=layer)


def test_every_condition_of_the_papers_figures_is_run_where_it_shows_it() -> None:
    matrix = load("paper")
    curves = csv.DictReader((CONFIG.parent / "results/paper/paper_curves.csv").open())
    ours = {
        (name, matrix.conditions[one].paper_condition)
        for name, conditions in matrix.scale.runs.items()
        for one in conditions
    }
    ours |= {("5m_vs_6m", "ablation_concurrent_joint")}  # which is dm2_ippo_demo_50
    assert {(row["map"], row["condition"]) for row in curves} <= ours


@pytest.mark.parametrize(
    ("map_name", "condition", "reward", "kind", "percent"),
    [
        ("5m_vs_6m", "gail_only_ippo_demo_70", "gail", "state", 70),
        ("3s_vs_4z", "gail_only_ippo_demo_60", "gail", "state", 60),
        ("3s_vs_4z", "dm2_state_action_demo_50", "mixed", "state_action", 50),
    ],
)
def test_rewards_and_discriminators_of_the_ablations(
    map_name: str, condition: str, reward: str, kind: str, percent: int
) -> None:
    settings = load("paper").settings(Run(map_name, condition, 78590))
    discriminator, source = settings.discriminator, settings.demonstrations
    assert discriminator is not None and source is not None
    assert (settings.reward, discriminator.input, source.checkpoint_percent) == (reward, kind, percent)
    assert discriminator.reward_weight == (0.3 if map_name == "5m_vs_6m" else 0.05)


@pytest.mark.parametrize("concurrent", [True, False])
@pytest.mark.parametrize("joint", [True, False])
def test_demonstration_ablation(concurrent: bool, joint: bool) -> None:
    matrix = load("paper")
    name = f"ablation_{'' if concurrent else 'non'}concurrent_{'joint' if joint else 'independent'}"
    name = "dm2_ippo_demo_50" if concurrent and joint else name
    archive = matrix.demonstration_settings(Run("5m_vs_6m", name, 78590))
    assert archive is not None
    assert (archive.source.concurrent, archive.source.joint, archive.source.checkpoint_percent) == (
        concurrent,
        joint,
        50,
    )
    assert archive.source.is_chosen == joint
    assert [run.seed for run in matrix.experts(archive)] == list(PAPER_SEEDS)


def test_self_imitation_needs_neither_expert_nor_archive() -> None:
    matrix = load("smoke", runs={"3m": ["dm2_sil"]}, defaults={"self_imitation": {"stored_episodes": 99}})
    assert matrix.runs == matrix.learners and matrix.demonstrations == {}
    assert matrix.conditions_without_demonstrations == ("dm2_sil",)
    settings = matrix.settings(matrix.runs[0])
    assert settings.demonstrations is None and settings.self_imitation is not None
    other = matrix.settings(Run("3m", "dm2_ippo_demo", 1))
    assert other.self_imitation is None and other.demonstrations is not None


@pytest.mark.parametrize(
    ("base", "flipped"),
    [
        (
            "ippo",
            {"absorbing_zeros", "first_action_leak", "regeneration_pays", "one_sided_huber", "frozen_critic_head"}
            | {"last_episode_left_out"},
        ),
        ("dm2_sil", {"evict_before_insert"}),
    ],
)
def test_the_quirk_study_flips_each_quirk_alone(base: str, flipped: set[str]) -> None:
    matrix = load("paper")
    default = matrix.settings(Run("5m_vs_6m", base, 1)).model_dump()
    found = set()
    for name in (one for one in matrix.conditions if re.fullmatch(rf"{base}_\w+_(on|off)", one)):
        settings = matrix.settings(Run("5m_vs_6m", name, 1)).model_dump()
        changed = [key for key, value in settings["quirks"].items() if value != default["quirks"][key]]
        assert name == f"{base}_{changed[0]}_{'on' if settings['quirks'][changed[0]] else 'off'}"
        assert len(changed) == 1
        assert settings | {"condition": base, "quirks": default["quirks"]} == default
        found.add(changed[0])
    assert found == flipped


def test_each_quirk_is_studied_where_it_can_change_something() -> None:
    runs = load("paper").scale.runs
    flipped = {name: {one for one in runs[name] if one.endswith(("_off", "_on", "_code"))} for name in runs}
    assert flipped["3s_vs_4z"] == {"ippo_regeneration_pays_off", "dm2_ippo_demo_regeneration_pays_off"}
    assert len(flipped["5m_vs_6m"]) == 6 + 6 + 1 and not flipped["5m_vs_6m"] & flipped["3s_vs_4z"]


def test_the_quirk_study_of_dm2_is_that_of_ippo_from_the_same_demonstrations() -> None:
    matrix = load("paper")
    names = [one for one in matrix.conditions if one.startswith("ippo_") and one.endswith(("_on", "_off", "_code"))]
    assert len(names) == 7
    for name in names:
        own, dm2 = (
            matrix.settings(Run("5m_vs_6m", one, 1)) for one in (name, name.replace("ippo", "dm2_ippo_demo", 1))
        )
        assert own.quirks == dm2.quirks
        assert dm2.demonstrations == matrix.settings(Run("5m_vs_6m", "dm2_ippo_demo", 1)).demonstrations
    assert matrix.settings(Run("5m_vs_6m", "ippo_as_the_papers_code", 1)).quirks == QuirkSettings.as_the_papers_code()
    assert matrix.conditions["ippo_one_sided_huber_on"].label == "IPPO, one sided huber on"


@pytest.mark.parametrize("name", ["dm2_ippo_demo_50", "dm2_ippo_demo_70", "dm2_qmix_demo", "dm2_sil"])
def test_twins_with_1024_episodes_differ_in_nothing_else(name: str) -> None:
    matrix = load("paper")
    own, twin = (matrix.settings(Run("5m_vs_6m", one, 1)) for one in (name, f"{name}_1024_episodes"))
    assert own.ippo is not None and twin.ippo is not None
    assert (own.ippo.episodes_per_update, twin.ippo.episodes_per_update) == (256, 1024)
    wanted = own.model_dump() | {
        "condition": twin.condition,
        "ippo": own.ippo.model_dump() | {"episodes_per_update": 1024},
    }
    if own.demonstrations is not None and own.demonstrations.expert == "ippo":  # the expert is a twin too
        wanted["demonstrations"] = own.demonstrations.model_dump() | {"expert": "ippo_1024_episodes"}
    assert twin.model_dump() == wanted
    assert twin.condition in matrix.figure_conditions("episodes_per_update", "5m_vs_6m")


def test_a_condition_stands_for_percentages_or_variants(tmp_path: Path) -> None:
    config = with_condition(
        tmp_path, "dm2_x_{variant}", "{expert: ippo}", more="checkpoint_percents: [10], variants: {a: {}}"
    )
    with pytest.raises(SettingsError, match=r"conditions.dm2_x_{variant}: checkpoint_percents, variants: found both"):
        Matrix.load(config, {"scale": "smoke"})


def test_cloning_takes_the_archive_of_the_dm2_that_it_is_compared_with() -> None:
    matrix = load("paper", defaults={"cloning": {"patience": 7}})
    cloned, matched = (Run("3s_vs_4z", name, 1) for name in ("ippo_bc_pretrain", "dm2_ippo_demo_50"))
    assert matrix.demonstration_settings(cloned) == matrix.demonstration_settings(matched)
    settings = matrix.settings(cloned)
    assert settings.cloning is not None and settings.cloning.patience == 7
    assert settings.reward == "env" and settings.discriminator is None
    assert matrix.settings(matched).cloning is None


def test_conditions_with_a_single_seed_are_run_and_drawn_beside_the_others() -> None:
    matrix = load("smoke", runs={"3m": ["ippo"]}, single_seed_runs={"3m": ["open_loop"], "8m": ["qmix"]})
    assert matrix.learners == (
        Run("3m", "ippo", 112358),
        Run("3m", "ippo", 1285842),
        Run("3m", "open_loop", 112358),
        Run("8m", "qmix", 112358),
    )
    assert matrix.figure_maps("open_loop") == ("3m",)
    assert matrix.figure_conditions("open_loop", "3m") == ("ippo", "open_loop")
    assert matrix.figure_maps("core") == ("3m", "8m")
    assert load("smoke", runs={"3m": ["ippo"]}).scale.single_seed_runs == {}
    assert "single_seed_runs: unknown map '3mm'" in refused(single_seed_runs={"3mm": ["ippo"]})
    assert "single_seed_runs.3m: unknown condition 'ipo'" in refused(single_seed_runs={"3m": ["ipo"]})


def test_a_figure_alone_runs_what_it_shows() -> None:
    whole, matrix = load("paper"), load("paper", figures=["bc_pretrain", "improvement"])
    assert set(matrix.figures) == {"bc_pretrain", "improvement"}
    assert matrix.scale.runs["3s_vs_3z"] == ("ippo", "qmix", "rmappo", "dm2_ippo_demo", "dm2_qmix_demo", "dm2_sil")
    assert set(load("paper", figures=["bc_pretrain"]).scale.runs) == {"5m_vs_6m", "3s_vs_4z"}
    for figure in matrix.figures:
        assert matrix.figure_maps(figure) == whole.figure_maps(figure)
        for map_name in matrix.figure_maps(figure):
            assert matrix.figure_conditions(figure, map_name) == whole.figure_conditions(figure, map_name)
    assert load("smoke", figures=["open_loop"]).learners == (
        Run("3m", "ippo", 112358),
        Run("3m", "ippo", 1285842),
        Run("3m", "open_loop", 112358),
    )
    assert "figures: unknown figure 'bc_pretrian'; did you mean 'bc_pretrain'" in refused(
        "paper", figures=["bc_pretrian"]
    )
    assert "figures: found 'gail_only', of which the scale runs nothing" in refused("quick", figures=["gail_only"])


def test_the_figures_of_a_scales_file_show_all_that_it_runs(tmp_path: Path) -> None:
    config = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    path = config / "scales" / "smoke.yaml"
    path.write_text(path.read_text() + "figures: [core, open_loop]\n")
    with pytest.raises(SettingsError, match=r"smoke\.yaml: figures: found none that shows 'ippo_bc_pretrain' on '3m'"):
        Matrix.load(config, {"scale": "smoke"})
    narrowed = Matrix.load(config, {"scale": "smoke", "figures": ["open_loop"]})
    assert {run.condition for run in narrowed.learners} == {"ippo", "open_loop"}


def test_scale_calibration_runs_what_its_committed_tables_hold() -> None:
    with open(CONFIG.parent / "results" / "calibration" / "summary.csv", newline="") as file:
        committed = {(row["map_name"], row["condition"]) for row in csv.DictReader(file)}
    assert {(run.map_name, run.condition) for run in load("calibration").learners} == committed


def test_experts_may_have_more_seeds_than_the_learners() -> None:
    matrix = load(
        "smoke", seeds=[5], expert_seeds=[7, 8, 9], runs={"3m": ["dm2_ippo_demo", "ablation_concurrent_independent"]}
    )
    assert {run for run in matrix.runs if run.condition == "ippo"} == {Run("3m", "ippo", seed) for seed in (7, 8, 9)}
    joint = matrix.demonstration_settings(Run("3m", "dm2_ippo_demo", 5))
    assert joint is not None and [run.seed for run in matrix.experts(joint)] == [7, 8, 9]


def test_independent_experts_are_one_run_per_agent() -> None:
    layer = {"demonstrations": {"joint": False, "concurrent": False}}
    matrix = load("laptop", runs={"5m_vs_6m": ["dm2_ippo_demo_50"]}, defaults=layer)
    (archive,) = matrix.demonstrations.values()
    assert [run.seed for run in matrix.experts(archive)] == list(PAPER_SEEDS)
    assert archive.name.endswith("_nonconcurrent_independent")


def with_condition(folder: Path, name: str, demonstrations: str, more: str = "") -> Path:
    """A copy of the configuration with one more condition that learns from these demonstrations."""
    config = Path(shutil.copytree(CONFIG, folder / "config"))
    experiments = config / "experiments.yaml"
    condition = (
        f'  "{name}": {{label: x, {more or "maps: {}"},'
        f" settings: {{algorithm: ippo, reward: mixed, demonstrations: {demonstrations}}}}}"
    )
    experiments.write_text(experiments.read_text().replace("conditions:", f"conditions:\n{condition}", 1))
    return config


@pytest.mark.parametrize(
    ("demonstrations", "message"),
    [
        ("{expert: ippo, checkpoint_percent: 110}", "checkpoint_percent: Input should be less than or equal to 100"),
        ("{expert: ippo, checkpoint_percent: 55}", "checkpoint_percent: 'ippo' keeps no policy at 55 %"),
        ("{expert: ippo, joint: false, expert_seeds: [1, 2, 2]}", "3 different seeds, one per agent, found [1, 2, 2]"),
        (
            "{expert: ippo, epsilon: 0.5}",
            "demonstrations.epsilon: found 0.5 for the expert 'ippo', which samples from its",
        ),
        ("{expert: dm2_ippo_demo}", "demonstrations.expert: 'dm2_ippo_demo' learns from demonstrations itself"),
        ("{expert: ippo, episodes: 4}", "discriminator.batch_episodes: found 8, more than demonstrations.episodes (4)"),
        ("{expert: ippo}, self_imitation: {}", "demonstrations, self_imitation: found both blocks, expected one"),
        ("{expert: ippo}, discriminator: {input: actions}", "discriminator.input: Input should be 'state' or 'state_a"),
    ],
)
def test_an_impossible_condition_is_refused_by_its_name(tmp_path: Path, demonstrations: str, message: str) -> None:
    config = with_condition(tmp_path, "dm2_x", demonstrations)
    with pytest.raises(SettingsError) as error:
        Matrix.load(config, {"scale": "smoke", "runs": {"3m": ["dm2_x"]}})
    assert "condition 'dm2_x' on '3m' at scale 'smoke'" in str(error.value)
    assert message in str(error.value)


def test_a_scripted_expert_needs_no_run() -> None:
    matrix = load("smoke", runs={"3m": ["dm2_heuristic_demo"]})
    (archive,) = matrix.demonstrations.values()
    assert matrix.experts(archive) == () and matrix.choices == {}
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
        Matrix.load(config, {"scale": "smoke", "expert_seeds": [], "runs": {"3m": [name]}})
    assert message in str(error.value)


def test_scales_whose_names_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    config = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    shutil.copy(config / "scales" / "smoke.yaml", config / "scales" / "Smoke.yaml")
    with pytest.raises(SettingsError, match="scales: found 'Smoke' and 'smoke', which differ in case alone; rename"):
        Matrix.load(config)


@pytest.mark.parametrize("name", ["IPPO", "Random"])
def test_conditions_whose_names_differ_in_case_alone_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(SettingsError, match=f"conditions: found .*'{name}'.*, which differ in case alone"):
        Matrix.load(with_condition(tmp_path, name, "{expert: ippo}"))


def test_archives_that_differ_in_any_key_have_different_names() -> None:
    layers = [{}, {"episodes": 10}, {"concurrent": False}, {"expert_seeds": [3]}]
    names = []
    for condition in ("dm2_ippo_demo", "dm2_ippo_demo_50", "dm2_qmix_demo"):
        for layer in [*layers, *([{"epsilon": 0.5}] if condition == "dm2_qmix_demo" else [])]:
            matrix = load("smoke", runs={"3m": [condition]}, maps={"3m": {"demonstrations": layer}})
            names += [archive.name for archive in matrix.demonstrations.values()]
    assert len(set(names)) == len(names) == 3 * len(layers) + 1


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"scale": "papr"}, "unknown scale 'papr'; did you mean 'paper'?"),
        ({"backend": "simulatr"}, "unknown backend 'simulatr'; did you mean 'simulator'?"),
        ({"sedes": [1]}, "quick.yaml, with sedes set by the configuration: unknown key 'sedes'; did you mean 'seeds'?"),
        ({"runs": {"5m_v_6m": ["ippo"]}}, "unknown map '5m_v_6m'; did you mean '5m_vs_6m'?"),
        ({"runs": {"3m": ["ipppo"]}}, "runs.3m: unknown condition 'ipppo'; did you mean 'ippo'?"),
        ({"maps": {"3n": {}}}, "maps: unknown map '3n'; did you mean '3m'?"),
        ({"defaults": {"env_step": 1}}, "defaults: unknown key 'env_step'; did you mean 'env_steps'?"),
        ({"defaults": {"qmix": {"lr": 1}}}, "defaults.qmix: unknown key 'lr'"),
        ({"defaults": [1]}, "defaults: Input should be a valid dictionary, found [1]"),
        (
            {"defaults": {"seed": 5}},
            "defaults: seed: follows from the scale's `runs`, `seeds` and `backend`; remove it",
        ),
        ({"maps": {"3m": {"map_name": "8m"}}}, "maps.3m: map_name: follows from the scale's `runs`"),
        ({"seeds": []}, "seeds: found none, expected at least one"),
        ({"seeds": [1, 2, 1]}, "seeds: found 1 twice, expected each once"),
        ({"expert_seeds": [3, 3]}, "expert_seeds: found 3 twice, expected each once"),
        ({"runs": {}}, "runs: found none, expected at least one"),
        ({"runs": {"3m": []}}, "runs.3m: found none, expected at least one"),
        ({"runs": {"3m": ["ippo", "qmix", "ippo"]}}, "runs.3m: found 'ippo' twice, expected each once"),
        (
            {"runs": {"3m": ["ippo"]}, "single_seed_runs": {"3m": ["ippo"]}},
            "runs.3m: found 'ippo' twice, expected each",
        ),
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


def test_a_figure_may_show_some_maps_alone_and_each_its_own_conditions() -> None:
    matrix = load("paper")
    assert matrix.figure_maps("demo_ablation") == ("5m_vs_6m",)
    assert matrix.figure_maps("state_action") == ("5m_vs_6m", "3s_vs_4z")
    assert matrix.figure_conditions("gail_only", "3s_vs_4z")[-1] == "gail_only_ippo_demo_60"
    assert "dm2_ippo_demo" in matrix.figure_conditions("core", "3s_vs_3z")
    assert "dm2_ippo_demo" not in matrix.figure_conditions("core", "5m_vs_6m")


def test_a_figure_without_what_it_is_about_has_no_panel() -> None:
    runs = {"5m_vs_6m": ["ippo", "gail_only_ippo_demo_50"], "3s_vs_4z": ["ippo", "dm2_ippo_demo_50"]}
    matrix = load("laptop", runs=runs)
    assert matrix.figure_maps("gail_only") == ("5m_vs_6m",)
    assert matrix.figure_maps("state_action") == ()


def test_a_figure_of_improvement_needs_its_baseline_and_something_beside_it() -> None:
    matrix = load("laptop", runs={"3m": ["ippo", "qmix"], "8m": ["qmix"], "5m_vs_6m": ["ippo"]})
    assert matrix.figure_maps("improvement") == ("3m",)
    assert matrix.figure_conditions("improvement", "3m") == ("qmix",)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        ("{title: x}", "figures.x: found neither conditions nor maps"),
        ("{title: x, maps: {3mm: [ippo]}}", "figures.x.maps: unknown map '3mm'; did you mean '3m'?"),
        ("{title: x, maps: {3m: [ipo]}}", "figures.x: unknown condition 'ipo'; did you mean 'ippo'?"),
        (
            "{title: x, conditions: [ippo], baseline: ippo}",
            "baseline 'ippo' in a figure of win_rate; improvement alone",
        ),
        ("{title: x, conditions: [ippo], shows: improvement}", "found baseline None in a figure of improvement"),
        ("{title: x, conditions: [ippo], shows: improvement, baseline: ipo}", "unknown condition 'ipo'; did you mean"),
        ("{title: x, conditions: [ippo], needs: [qmx]}", "figures.x: unknown condition 'qmx'; did you mean 'qmix'?"),
    ],
)
def test_impossible_figures_are_refused(tmp_path: Path, figure: str, message: str) -> None:
    config = Path(shutil.copytree(CONFIG, tmp_path / "config"))
    experiments = config / "experiments.yaml"
    experiments.write_text(experiments.read_text().replace("figures:\n", f"figures:\n  x: {figure}\n", 1))
    with pytest.raises(SettingsError) as error:
        Matrix.load(config, {"scale": "smoke"})
    assert message in str(error.value)


def test_merge_goes_into_nested_mappings() -> None:
    assert merge({"a": {"b": 1, "c": 2}, "d": 3}, {"a": {"c": 4}}) == {"a": {"b": 1, "c": 4}, "d": 3}


def test_maps_are_those_of_the_simulator() -> None:
    assert n_agents("5m_vs_6m") == 5
    assert {"3m", "8m", "2s3z", "3s_vs_5z", "6h_vs_8z"} <= set(map_names())


@pytest.mark.parametrize("false", ["false", "False", "no", "0"])
def test_the_command_line_s_texts_are_read_as_the_settings_types(false: str) -> None:
    layer = f"{{demonstrations: {{joint: {false}, concurrent: {false}}}}}"
    given = parse_config(
        ["runs={3m: [dm2_ippo_demo]}", "expert_seeds=[1,2,010]", f"by_run={{3m: {{dm2_ippo_demo: {layer}}}}}"]
    )
    source = load("smoke", **given).demonstrations.popitem()[1].source
    assert (source.joint, source.concurrent, source.expert_seeds) == (False, False, (1, 2, 10))
