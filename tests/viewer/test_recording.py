"""dm2.viewer.recording: battles come back from their recording exactly as they were played."""

import json
from pathlib import Path

import numpy as np
import pytest

from dm2.battle.env import BattleEnv
from dm2.battle.scenario import load_scenario, map_data, unit_data, unit_names
from dm2.core.errors import UserError
from dm2.core.files import StorageError
from dm2.core.randomness import stream
from dm2.play.rollout import collect
from dm2.play.scripted import RandomPolicy
from dm2.viewer.recording import Recording, replay

NUMBERS = np.array([4, 0, 7])


class Watching(BattleEnv):
    """Keeps what a battle looked like after every step."""

    def reset(self, episodes=None):
        super().reset(episodes)
        self.seen = [(self.battles.x.copy(), self.battles.y.copy(), self.battles.units.copy(), self.reward.copy())]

    def step(self, actions):
        super().step(actions)
        self.seen.append((self.battles.x.copy(), self.battles.y.copy(), self.battles.units.copy(), self.reward.copy()))


def played(map_name="2s3z", seed=3, pays=False):
    env = Watching(map_name, len(NUMBERS), seed, regeneration_pays=pays)
    episodes = collect(env, RandomPolicy(), NUMBERS, stream(seed, "policy"))
    return env, episodes, Recording.of(episodes, NUMBERS, map_name, seed, pays)


def changed(recording, **changes):
    return recording.model_copy(update=changes)


def test_replay_shows_every_frame_as_it_was_played(tmp_path):
    env, episodes, recording = played()
    recording.save(tmp_path / "battles.json")
    battles = replay(Recording.load(tmp_path / "battles.json"))
    assert [battle.episode for battle in battles] == NUMBERS.tolist()
    assert [battle.steps for battle in battles] == episodes.lengths.tolist()
    assert [battle.battle_won for battle in battles] == episodes.battle_won.tolist()
    for e, battle in enumerate(battles):
        for frame in range(battle.steps + 1):
            x, y, units, reward = (array[e] for array in env.seen[frame])
            alive = units["alive"]
            np.testing.assert_array_equal(battle.alive[frame], alive)
            np.testing.assert_array_equal(battle.x[frame][alive], x[alive])
            np.testing.assert_array_equal(battle.y[frame][alive], y[alive])
            for field in ("health", "shield", "shots"):
                np.testing.assert_array_equal(getattr(battle, field)[frame], units[field])
            np.testing.assert_array_equal(battle.target[frame][alive], units["target"][alive])
            if frame:
                assert battle.reward[frame - 1] == reward


def test_the_dead_stay_where_they_fell_and_aim_at_nobody():
    battle = replay(played("3m")[2])[0]
    frame, unit = next((f, u) for u in range(6) for f in range(battle.steps) if not battle.alive[f + 1, u])
    dead = slice(frame + 1, None)
    assert (battle.x[dead, unit] == battle.x[frame, unit]).all()
    assert (battle.y[dead, unit] == battle.y[frame, unit]).all()
    assert (battle.target[dead, unit] == -1).all()


def test_a_recording_is_small():
    assert len(played("3m")[2].model_dump_json()) < 3000


def test_another_version_of_the_simulator_is_refused():
    recording = changed(played()[2], backend="simulator 0")
    with pytest.raises(
        UserError, match=r"found battles of 'simulator 0', expected 'simulator .*': .* record them again"
    ):
        replay(recording)


def without_last(recording):
    first = recording.battles[0]
    return changed(recording, battles=(first.model_copy(update={"actions": first.actions[:-1]}),))


def with_more(recording):
    first = recording.battles[0]
    return changed(recording, battles=(first.model_copy(update={"actions": first.actions + first.actions[-1:]}),))


def with_first_step(*actions):
    def change(recording):
        first = recording.battles[0]
        steps = (actions, *first.actions[1:])
        return changed(recording, battles=(first.model_copy(update={"actions": steps}),))

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without_last, "steps and goes on after"),
        (with_more, "steps and is over after"),
        (with_first_step(6, 1, 1), "in step 0, battle 0, agent 0: action 6 is not available"),
        (with_first_step(1, 1), r"has \[2, 3\] actions per step, not 3"),
        (lambda recording: changed(recording, map_name="3mm"), "unknown map '3mm'; did you mean '3m'"),
    ],
)
def test_what_was_not_played_is_refused(change, message):
    with pytest.raises(UserError, match=message):
        replay(change(played("3m")[2]))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("kind", "policy", "kind: Input should be 'dm2 recording'"),
        ("version", 2, "version: Input should be 1"),
        ("seed", -1, "seed: Input should be greater than or equal to 0"),
        ("battles", [], "battles: Tuple should have at least 1 item"),
        ("battles", [{"episode": 0, "actions": [["1"]]}], r"battles.0.actions.0.0: Input should be a valid integer"),
        ("extra", 1, "extra: Extra inputs are not permitted"),
    ],
)
def test_a_file_of_another_form_is_refused(tmp_path, key, value, message):
    path = tmp_path / "battles.json"
    path.write_text(json.dumps(json.loads(played("3m")[2].model_dump_json()) | {key: value}))
    with pytest.raises(StorageError, match=rf"battles.json: no recording of battles: {message}"):
        Recording.load(path)


@pytest.mark.parametrize("map_name", list(map_data().maps))
def test_names_are_those_of_the_units(map_name):
    units, kinds = [unit_data().units[name] for name in unit_names(map_name)], load_scenario(map_name).kinds
    assert [unit.radius for unit in units] == kinds["radius"].tolist()
    assert [unit.shield for unit in units] == kinds["max_shield"].tolist()


def test_committed_recordings_can_be_watched():
    committed = sorted((Path(__file__).parents[2] / "results" / "laptop" / "recordings").glob("*/*.json"))
    assert committed
    for path in committed:
        recording = Recording.load(path)
        (battle,) = replay(recording)  # refuses another simulator's, and a battle that went on or ended before
        assert recording.map_name == path.parent.name and battle.steps > 0
