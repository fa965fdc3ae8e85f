import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from dm2.settings.base import Settings, SettingsError, read_yaml
from dm2.settings.demonstrations import DemonstrationSettings
from dm2.settings.files import ExperimentsFile, Scale
from dm2.settings.learners import QMIXSettings, QuirkSettings, SelfImitationSettings
from dm2.settings.maps import MapData, UnitData
from dm2.settings.run import ALGORITHMS, DemonstrationSource, RunSettings

MATCHING = {"reward": "mixed", "discriminator": {}, "demonstrations": {"expert": "ippo"}}


def run(**changes: Any) -> dict[str, Any]:
    identity = {"scale": "quick", "map_name": "3m", "condition": "ippo", "seed": 7, "algorithm": "ippo"}
    lengths = {"env_steps": 100, "evaluation_interval": 10, "evaluation_episodes": 4}
    return {**identity, **lengths, "ippo": {}, **changes}


def refused(**changes: Any) -> str:
    with pytest.raises(SettingsError) as error:
        RunSettings.from_mapping(run(**changes), "settings.yaml")
    return str(error.value)


def test_written_settings_are_read_back_equal(tmp_path: Path) -> None:
    settings = RunSettings.from_mapping(run(**MATCHING, quirks={"one_sided_huber": True}), "test")
    settings.to_yaml(tmp_path / "settings.yaml")
    assert RunSettings.from_yaml(tmp_path / "settings.yaml") == settings
    assert "qmix" not in (tmp_path / "settings.yaml").read_text().splitlines()


@given(
    st.binary(max_size=60)
    | st.text(st.sampled_from("{}[]&*!?:-,#|>'\"%@ \n\t0a.~é"), max_size=40).map(str.encode)
    | st.sampled_from([b"{" * 5000, b"- " * 5000, b"9" * 5000, b"2001-99-99", b"!!python/object/apply:os.abort []"])
    | st.sampled_from([b"!!int ''", b"!!float ''", b"!!bool maybe", b"!!timestamp x", b"!!map a: 1", b"? [a]\n: 1"])
    | st.builds(
        b"%s %s: %s".__mod__,
        st.tuples(*[st.sampled_from([b"!!int", b"!!bool", b"!!float", b"!!map", b"!!seq", b"!!set", b"<<:", b""])] * 3),
    )
)
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=int(os.environ.get("DM2_FUZZ_EXAMPLES", "200")),
    deadline=None,
)
def test_no_bytes_pass_as_settings(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "settings.yaml").write_bytes(content)
    for model in (RunSettings, Scale, ExperimentsFile, DemonstrationSettings, MapData, UnitData):
        with pytest.raises(SettingsError, match=r"settings.yaml: "):
            model.from_yaml(tmp_path / "settings.yaml")


def test_yaml_that_stands_for_gigabytes_makes_a_short_error(tmp_path: Path) -> None:
    nested = "[lol, lol]"
    for name in (f"a{number}" for number in range(60)):
        nested = f"[&{name} {nested}, *{name}]"  # twice as much each time
    (tmp_path / "settings.yaml").write_text(f"map_name: {nested}\n")
    with pytest.raises(SettingsError, match="map_name: Input should be a valid string") as error:
        RunSettings.from_yaml(tmp_path / "settings.yaml")
    assert len(str(error.value)) < 10_000


FLOATS = [
    (model, key)
    for model in (*RunSettings.blocks().values(), RunSettings, Scale, DemonstrationSettings)
    for key, field in model.model_fields.items()
    if field.annotation is float
]


@pytest.mark.parametrize(("model", "key"), FLOATS, ids=lambda part: getattr(part, "__name__", part))
@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "'inf'", "1e400"])
def test_a_number_that_is_not_finite_is_refused(tmp_path: Path, model: type[Settings], key: str, value: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(f"{key}: {value}\n")
    with pytest.raises(SettingsError, match=rf"settings\.yaml: {key}: Input should be (a finite number|less|greater)"):
        model.from_yaml(path)


def test_there_are_such_numbers_in_every_algorithm() -> None:
    assert {model for model, _ in FLOATS} >= set(ALGORITHMS.values())


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nb: 2\na: 3\n", "line 3: found 'a' again, first in line 1; remove one of them"),
        ("x:\n  - {k: 1, k: 1}\n", "line 2: found 'k' again, first in line 2; remove one of them"),
        ("1: a\n0x1: b\n", "line 2: found 1 again, first in line 1; remove one of them"),
        ("seeds: [010]\n", "line 1: found 010, which some read as octal or as base 60; expected a decimal number"),
        ("seed: -0_7\n", "line 1: found -0_7, which some read as octal"),
        ("lag: 1:30\n", "line 1: found 1:30, which some read as octal or as base 60"),
        ("lag: 1:30.5\n", "line 1: found 1:30.5, which some read as octal or as base 60"),
    ],
)
def test_yaml_that_its_readers_understand_differently_is_refused(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SettingsError, match=re.escape(f"{tmp_path}/a.yaml: not readable as YAML: {found}")):
        read_yaml(tmp_path / "a.yaml")


def test_yaml_that_all_understand_alike_is_read(tmp_path: Path) -> None:
    text = "base: &base {a: 1, b: 0}\nown: {<<: *base, a: 2}\nnumbers: [0, -5, 0.5, 1_000, 1.5e+3, '010', 0o10]\n"
    (tmp_path / "a.yaml").write_text(text)
    found = read_yaml(tmp_path / "a.yaml")
    assert found["own"] == {"a": 2, "b": 0}
    assert found["numbers"] == [0, -5, 0.5, 1000, 1500.0, "010", "0o10"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none.yaml: cannot be read"):
        RunSettings.from_yaml(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"seed": True}, "seed"),
        ({"env_steps": True}, "env_steps"),
        ({"policy_percents": [True, 100]}, "policy_percents.0"),
        ({"ippo": {"gamma": True}}, "ippo.gamma"),
        ({"ippo": {"learning_rate": True}}, "ippo.learning_rate"),
        ({"ippo": {"entropy_coefficient": False}}, "ippo.entropy_coefficient"),
    ],
)
def test_a_truth_value_is_no_number(changes: dict[str, Any], where: str) -> None:
    """A YAML file's `yes` is one, which would count as 1; on the command line it is a text, and refused."""
    assert re.search(rf"settings.yaml: {re.escape(where)}: found (True|False), expected a number", refused(**changes))


@pytest.mark.parametrize("name", ["../3m", "a/b", "..", "/etc", "a\n", "a\0", "", "a b", "~"])
@pytest.mark.parametrize("key", ["scale", "map_name", "condition", "backend"])
def test_a_name_is_no_path(key: str, name: str) -> None:
    assert f"{key}: expected a name of letters, digits and _, found" in refused(**{key: name})


def test_unknown_key_names_file_key_and_nearest_valid_one() -> None:
    assert refused(seeds=3) == "settings.yaml: unknown key 'seeds'; did you mean 'seed'?"
    found = refused(ippo={"clip_eps": 0.1})
    assert found == "settings.yaml: ippo: unknown key 'clip_eps'; did you mean 'clip_epsilon'?"


def test_unknown_key_without_a_near_one_lists_all() -> None:
    assert "expected one of batch_episodes, gradient_penalty" in refused(**MATCHING | {"discriminator": {"zzz": 1}})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"algorithm": "ipo"}, "settings.yaml: algorithm: unknown algorithm 'ipo'; did you mean 'ippo'?"),
        ({"ippo": {"gamma": 1.5}}, "settings.yaml: ippo.gamma: Input should be less than or equal to 1, found 1.5"),
        ({"map_name": "../3m"}, "settings.yaml: map_name: expected a name of letters, digits and _, found"),
        ({"ippo": None}, "algorithm 'ippo' with reward 'env' needs the block 'ippo'"),
        ({"qmix": {}}, "algorithm 'ippo' with reward 'env' does not read the block 'qmix'; remove it"),
        ({"reward": "gail"}, "algorithm 'ippo' with reward 'gail' needs the block 'discriminator'"),
        ({"discriminator": {}}, "does not read the block 'discriminator'; remove it"),
        ({"self_imitation": {}}, "with reward 'env' does not read the block 'self_imitation'; remove it"),
        ({**MATCHING, "demonstrations": None}, "with reward 'mixed' needs the block 'demonstrations'"),
        ({**MATCHING, "ippo": {"input": "time"}}, "ippo.input: found 'time' with reward 'mixed'"),
        ({"cloning": {}}, "algorithm 'ippo' with reward 'env' needs the block 'demonstrations'"),
        ({**MATCHING, "cloning": {}}, "with reward 'mixed' does not read the block 'cloning'; remove it"),
        ({"cloning": {}, "demonstrations": {"expert": "ippo", "episodes": 1}}, "episodes: found 1, expected 2 or more"),
        ({**MATCHING, "self_imitation": {}}, "demonstrations, self_imitation: found both blocks, expected one"),
        ({"algorithm": "qmix", "qmix": {}, "ippo": None, **MATCHING}, "reward 'mixed' needs algorithm 'ippo'"),
        ({**MATCHING, "ippo": {"episodes_per_update": 63}}, "found 64, more than ippo.episodes_per_update (63)"),
        (
            {**MATCHING, "demonstrations": {"expert": "ippo", "episodes": 9}},
            "settings.yaml: discriminator.batch_episodes: found 64, more than demonstrations.episodes (9)",
        ),
        (
            {**MATCHING, "demonstrations": None, "self_imitation": {"stored_episodes": 63}},
            "found 64, more than self_imitation.stored_episodes (63), from which they are drawn",
        ),
        (
            {"ippo": {"episodes_per_update": 1}, "quirks": {"last_episode_left_out": True}},
            "quirks.last_episode_left_out: found true with ippo.episodes_per_update 1, expected 2 episodes or more",
        ),
        ({"evaluation_interval": 101}, "evaluation_interval 101 exceeds env_steps 100"),
        ({"policy_percents": [50, 20, 100]}, "policy_percents must rise and end with 100, found [50, 20, 100]"),
        ({"policy_percents": [50]}, "policy_percents must rise and end with 100, found [50]"),
    ],
)
def test_impossible_settings_are_refused(changes: dict[str, Any], message: str) -> None:
    assert message in refused(**changes)


def test_own_best_episodes_stand_in_for_demonstrations() -> None:
    settings = RunSettings.from_mapping(run(reward="mixed", discriminator={}, self_imitation={}), "test")
    assert settings.self_imitation is not None and settings.self_imitation.stored_episodes == 1024


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        RunSettings.from_mapping(run(), "test").seed = 8  # type: ignore[misc]


def test_broken_yaml_is_refused_by_name(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("scale: [quick")
    with pytest.raises(SettingsError, match=r"settings\.yaml: not readable as YAML"):
        RunSettings.from_yaml(path)


def test_preset_turns_all_quirks_on_and_a_key_beside_it_wins() -> None:
    quirks = QuirkSettings.from_mapping({"preset": "as_the_papers_code", "frozen_critic_head": False}, "test")
    assert quirks == QuirkSettings.as_the_papers_code().model_copy(update={"frozen_critic_head": False})
    assert all(QuirkSettings.as_the_papers_code().model_dump().values())


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(SettingsError, match="unknown preset 'papers'; did you mean 'as_the_papers_code'"):
        QuirkSettings.from_mapping({"preset": "papers"}, "test")


def test_joint_experts_are_one_run() -> None:
    with pytest.raises(SettingsError, match="expected one expert seed, found 2"):
        DemonstrationSource.from_mapping({"expert": "ippo", "expert_seeds": [1, 2]}, "test")


def test_replay_holds_a_batch() -> None:
    with pytest.raises(SettingsError, match=r"batch_episodes is 32, more than replay_episodes \(8\) hold"):
        QMIXSettings.from_mapping({"replay_episodes": 8}, "test")


def test_qmix_makes_a_gradient_step_per_episode_by_default() -> None:
    assert [QMIXSettings(n_battles=n).gradient_steps for n in (4, 32)] == [4, 32]
    assert QMIXSettings(n_battles=4, gradient_steps=1).gradient_steps == 1
    with pytest.raises(SettingsError, match="n_battles: Input should be greater than or equal to 1"):
        QMIXSettings.from_mapping({"n_battles": 0}, "test")


def test_every_setting_is_described() -> None:
    for model in (RunSettings, QMIXSettings, QuirkSettings, DemonstrationSource, SelfImitationSettings):
        assert [key for key, field in model.model_fields.items() if not field.description] == []
