"""dm2.viewer.watch: pages and films of battles hold what was played, and the page works in a browser."""

import base64
import json
import re
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from support.browser import open_browser

from dm2 import cli
from dm2.backends.make_env import env_spec, make_env
from dm2.core.errors import UserError
from dm2.core.randomness import stream
from dm2.core.tensor_files import load_tensors, save_tensors
from dm2.learners.distribution_matching import DistributionMatching
from dm2.learners.ippo import IPPO
from dm2.learners.qmix import QMIX
from dm2.learners.rmappo import RMAPPO
from dm2.play.rollout import collect
from dm2.play.scripted import RandomPolicy
from dm2.settings.learners import IPPOSettings, QMIXSettings, QuirkSettings, RMAPPOSettings
from dm2.settings.run import RunSettings
from dm2.viewer.battles import battles_of_run
from dm2.viewer.recording import Recording, replay
from dm2.viewer.watch import ENGINE_LABEL, Thoughts, record_battles, write_animation, write_viewer

SPEC = env_spec("simulator", "3m")
LEARNERS = {
    "ippo": lambda: IPPO(SPEC, IPPOSettings(hidden_size=8), QuirkSettings(), seed=0),
    "qmix": lambda: QMIX(SPEC, QMIXSettings(hidden_size=8), QuirkSettings(), seed=0),
    "rmappo": lambda: RMAPPO(SPEC, RMAPPOSettings(hidden_size=8), QuirkSettings(), seed=0),
}


def content(page: Path) -> dict:
    return json.loads(re.search(r'id="battles">(.*?)</script>', page.read_text(), re.DOTALL).group(1))


def numbers(packed: str, kind: str, *shape: int) -> np.ndarray:
    return np.frombuffer(base64.b64decode(packed), dtype=kind).reshape(shape)


def random_page(path: Path, map_name: str = "3m", n_episodes: int = 2) -> Recording:
    recording, thoughts = record_battles(RandomPolicy(), map_name, 1, n_episodes)
    write_viewer(path, recording, "random policy", thoughts)
    return recording


@pytest.mark.parametrize("algorithm", LEARNERS)
def test_the_best_score_is_the_action_of_a_greedy_policy(algorithm):
    recording, thoughts = record_battles(LEARNERS[algorithm]().greedy_policy(), "3m", 0, 2)
    for battle, told in zip(replay(recording), thoughts, strict=True):
        np.testing.assert_array_equal(np.nanargmax(told.scores, axis=-1), battle.actions)
        if algorithm != "qmix":
            np.testing.assert_allclose(np.nansum(told.scores, axis=-1), 1.0, rtol=1e-5)


def test_a_learners_own_policy_tells_its_values_and_plays_as_if_not_watched():
    policy = LEARNERS["ippo"]().policy()
    recording, thoughts = record_battles(policy, "3m", 0, 2)
    unwatched = collect(make_env("simulator", "3m", 2, 0), policy, np.arange(2), stream(0, "watch", "policy"))
    assert recording == Recording.of(unwatched, np.arange(2), "3m", 0, True)
    assert all(one.values.shape == one.scores.shape[:2] for one in thoughts)
    scripted = record_battles(RandomPolicy(), "3m", 0, 1)[1][0]
    assert (scripted.scores, scripted.values) == (None, None)


def test_the_page_holds_the_battles_and_nothing_from_elsewhere(tmp_path):
    recording, thoughts = record_battles(
        LEARNERS["ippo"]().policy(), "3m", 0, 2, discriminators=lambda episodes: episodes.obs.sum(-1)
    )
    write_viewer(tmp_path / "page.html", recording, "a </script> & more", thoughts)
    text, shown = (tmp_path / "page.html").read_text(), content(tmp_path / "page.html")
    assert not re.search(r"https?:|@[A-Z]+@|src=|@import", text)
    assert "a &lt;/script&gt; &amp; more" in text
    assert (shown["engine"], shown["title"]) == (ENGINE_LABEL, "a </script> & more")
    for packed, battle, told in zip(shown["battles"], replay(recording), thoughts, strict=True):
        frames = battle.steps + 1
        np.testing.assert_allclose(numbers(packed["x"], "<i2", frames, 6) / 256, battle.x, atol=1 / 512)
        np.testing.assert_allclose(numbers(packed["y"], "<i2", frames, 6) / 256, battle.y, atol=1 / 512)
        np.testing.assert_allclose(numbers(packed["health"], "<i2", frames, 6) / 16, battle.health, atol=1 / 16)
        for name in ("alive", "target"):
            np.testing.assert_array_equal(numbers(packed[name], "<i1", frames, 6), getattr(battle, name))
        np.testing.assert_array_equal(
            numbers(packed["fired"], "<i1", battle.steps, 6), np.diff(battle.shots, axis=0) > 0
        )
        np.testing.assert_array_equal(numbers(packed["actions"], "<i1", *battle.actions.shape), battle.actions)
        np.testing.assert_allclose(packed["values"], told.values, atol=1e-3)
        np.testing.assert_allclose(packed["logits"], told.logits, atol=1e-3)
        assert np.ptp(told.logits) > 0.1
        scores = numbers(packed["scores"], "<i2", *told.scores.shape)
        np.testing.assert_array_equal(scores == shown["unavailable"], np.isnan(told.scores))
        known = ~np.isnan(told.scores)
        np.testing.assert_allclose(scores[known] / packed["score_parts"], told.scores[known], atol=1e-4)


def test_a_page_tells_who_heals(tmp_path):
    random_page(tmp_path / "page.html", "MMM2", 1)
    units = content(tmp_path / "page.html")["units"]
    assert [unit["name"] for unit in units[:10]] == ["Marauder"] * 2 + ["Marine"] * 7 + ["Medivac"]
    assert [unit["heals"] for unit in units] == [unit["name"] == "Medivac" for unit in units]


def test_a_page_of_the_largest_map_is_small(tmp_path):
    recording, _ = record_battles(RandomPolicy(), "27m_vs_30m", 0, 1)
    steps = len(recording.battles[0].actions)
    told = Thoughts("probability", np.ones((steps, 27, 36), np.float32), np.ones((steps, 27), np.float32))
    write_viewer(tmp_path / "page.html", recording, "everything shown", [told])
    template = len((Path(cli.__file__).parent / "viewer" / "viewer.html").read_bytes())
    size = (tmp_path / "page.html").stat().st_size
    assert template + (size - template) / steps * 60 < 400_000  # as of a battle of 60 steps


def test_a_gif_moves_and_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("dm2.viewer.watch.FRAMES_PER_STEP", 1)
    recording, _ = record_battles(RandomPolicy(), "3m", 0, 1)
    short = replay(recording)[0].steps
    write_animation(tmp_path / "battle.gif", recording, "random policy")
    with Image.open(tmp_path / "battle.gif") as film:
        assert film.n_frames >= short  # equal frames at the end are merged
        first = np.asarray(film.convert("RGB"))
        film.seek(film.n_frames - 1)
        assert not np.array_equal(first, np.asarray(film.convert("RGB")))


def test_films_need_their_program_and_a_known_ending(tmp_path, monkeypatch):
    recording, _ = record_battles(RandomPolicy(), "3m", 0, 1)
    monkeypatch.setattr("matplotlib.animation.FFMpegWriter.isAvailable", classmethod(lambda cls: False))
    with pytest.raises(UserError, match=r"MP4 needs the program ffmpeg, found none; install it, or ask for a \.gif"):
        write_animation(tmp_path / "battle.mp4", recording, "random policy")
    with pytest.raises(UserError, match=r"found the ending '\.avi', expected \.gif or \.mp4"):
        write_animation(tmp_path / "battle.avi", recording, "random policy")


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg")
def test_an_mp4_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr("dm2.viewer.watch.FRAMES_PER_STEP", 1)
    recording, _ = record_battles(RandomPolicy(), "3m", 0, 1)
    write_animation(tmp_path / "battle.mp4", recording, "random policy")
    assert (tmp_path / "battle.mp4").read_bytes()[4:8] == b"ftyp"


def dm2_watch(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["dm2", "watch", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_the_command_writes_a_page_and_a_recording_that_it_reads_again(tmp_path, monkeypatch):
    page, kept, again = tmp_path / "page.html", tmp_path / "kept.json", tmp_path / "again.html"
    arguments = ["--policy", "heuristic", "--map", "3m", "--episodes", 2, "--seed", 5]
    assert dm2_watch(monkeypatch, *arguments, "--output", page, "--output", kept) == 0
    assert dm2_watch(monkeypatch, kept, "--output", again) == 0
    assert content(page)["battles"] == content(again)["battles"]
    assert len(content(page)["battles"]) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--policy", "random", "--map", "3m"], "found no --output"),
        (["--policy", "random", "--map", "3m", "--output", "x.txt"], "x.txt: found the ending '.txt', expected one of"),
        (["--policy", "clever", "--map", "3m", "--output", "x.html"], "policy: found 'clever', expected one of"),
        (["--policy", "random", "--map", "3mm", "--output", "x.html"], "unknown map '3mm'; did you mean '3m'?"),
        (["--policy", "random", "--output", "x.html"], "--map None; expected either a policy file"),
        (["--policy", "random", "--map", "3m", "--sample", "--output", "x.html"], "found --stochastic, expected it"),
        ([str(Path(__file__).parent), "--output", "x.html"], "found no policies/*.safetensors, expected a run"),
        ([__file__, "--output", "x.html"], "test_watch.py: damaged, or no file of dm2"),
    ],
)
def test_what_cannot_be_watched_is_one_line(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert dm2_watch(monkeypatch, *arguments) == 1
    shown = capsys.readouterr().err
    assert message in shown
    assert len(shown.splitlines()) == 1
    assert not list(tmp_path.iterdir())


def policy_file(path: Path, algorithm: str, **changed: torch.Tensor | None) -> Path:
    """A last policy with all its judges as a run writes it; tensors changed by name, None for left out."""
    spoken = {"reward": "mixed", "discriminator": {"hidden_size": 8}, "demonstrations": {"expert": "ippo"}}
    run = RunSettings.model_validate(
        {"scale": "test", "map_name": "3m", "condition": "test", "seed": 0, "algorithm": algorithm}
        | {"env_steps": 10, "evaluation_interval": 10, "evaluation_episodes": 1, algorithm: {"hidden_size": 8}}
        | (spoken if algorithm == "ippo" else {})
    )
    learner = DistributionMatching(SPEC, run, None) if algorithm == "ippo" else LEARNERS[algorithm]()
    tensors = learner.policy_state() | (learner.judges_state() if algorithm == "ippo" else {})
    tensors = {name: tensor for name, tensor in (tensors | changed).items() if tensor is not None}
    metadata = {"percent": 100, "env_steps": 10, "settings": run.model_dump(mode="json")}
    save_tensors(path, tensors, kind="policy", metadata=metadata)
    return path


MALFORMED = {
    "missing": lambda tensor: None,
    "a row short": lambda tensor: tensor[:-1],
    "a column short": lambda tensor: tensor[..., :-1],
    "an axis too many": lambda tensor: tensor[None],
    "one number": lambda tensor: tensor.flatten()[0],
    "whole numbers": lambda tensor: tensor.long(),
    "not finite": lambda tensor: torch.full_like(tensor, torch.nan),
}


@pytest.mark.parametrize("algorithm", LEARNERS)
def test_a_policy_file_with_a_malformed_tensor_is_refused_by_file_and_name(algorithm, tmp_path):
    whole = policy_file(tmp_path / "whole.safetensors", algorithm)
    assert len(battles_of_run(whole, 1, 0)[2]) == 1
    for name, tensor in load_tensors(whole, kind="policy")[0].items():
        for fault, malformed in MALFORMED.items():
            if (name, fault) == ("discriminator.parameters", "missing"):
                continue  # as in the policies before the last one
            path = policy_file(tmp_path / "100.safetensors", algorithm, **{name: malformed(tensor)})
            owner = re.escape(name.partition(".")[0])  # of two tensors that do not fit together either is named
            with pytest.raises(UserError, match=rf"100\.safetensors: .*{owner}\..*expected") as refused:
                battles_of_run(path, 1, 0)
            assert re.search(r"found|' is ", str(refused.value)), fault


def test_a_malformed_discriminator_is_one_line_to_whoever_watches(tmp_path, monkeypatch, capsys):
    path = policy_file(tmp_path / "100.safetensors", "ippo", **{"discriminator.parameters": torch.zeros(3, 5)})
    assert dm2_watch(monkeypatch, path, "--output", tmp_path / "x.html") == 1
    shown = capsys.readouterr().err
    assert "100.safetensors: discriminator.parameters: found shape [3, 5], expected [3, 329]" in " ".join(shown.split())
    assert len(shown.splitlines()) == 1


@pytest.mark.browser
def test_the_page_plays_steps_scrubs_and_changes_battle(tmp_path):
    recording, thoughts = record_battles(LEARNERS["ippo"]().policy(), "3m", 0, 2)
    write_viewer(tmp_path / "page.html", recording, "untrained", thoughts)
    first, second = replay(recording)
    shown = "return document.getElementById('field').toDataURL()"
    with open_browser() as browser:
        start = time.monotonic()
        browser.open(tmp_path / "page.html")
        assert browser.text("#clock").startswith(f"step 0 / {first.steps},")
        assert time.monotonic() - start < 5.0  # a second on a machine at rest
        assert browser.text("#engine") == "built-in simulator, not StarCraft II"
        at_start = browser.run(shown)
        browser.click("#forward")
        assert browser.text("#clock").startswith("step 1 /")
        assert browser.run(shown) != at_start
        browser.click("#back")
        assert browser.run(shown) == at_start
        browser.click("#play")
        assert browser.text("#play") == "Pause"
        time.sleep(1.0)
        browser.click("#play")
        assert browser.text("#play") == "Play"
        assert browser.run("return view.time") > 0.5
        browser.click("#team tr[data-unit='2']")
        assert browser.text("#mindtitle") == "Agent 2: probability of each action"
        shown_score = browser.text("#team tr[data-unit='2'] td:nth-child(5)")
        at = browser.run("return currentStep()")
        assert float(shown_score) == pytest.approx(thoughts[0].scores[at, 2, first.actions[at, 2]], abs=0.006)
        browser.run("const scrub = $('scrub'); scrub.value = scrub.max; scrub.oninput()")
        assert browser.text("#clock").startswith(f"step {first.steps} /")
        ends = [
            f"Battle {n + 1} of 2 (episode {n}, seed 0): the {side(battle)} won"
            for n, battle in enumerate((first, second))
        ]
        assert browser.text("#outcome").startswith(ends[0])
        browser.run("const choice = $('battle'); choice.value = 1; choice.onchange()")
        assert browser.text("#outcome").startswith(ends[1])
        assert browser.text("#clock").startswith(f"step 0 / {second.steps},")
        assert browser.errors() == []


def side(battle) -> str:
    return "agents" if battle.battle_won else "enemies"
