"""Battles that one can watch: recorded with a policy, written as one HTML page, as GIF or as MP4.

The page holds everything it needs, asks the network for nothing, and shows what the simulator played, step by step:
the recording is replayed, so what is seen is what a recording keeps.
"""

from __future__ import annotations

import base64
import itertools
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dm2.analysis.plotting import figure_settings
from dm2.backends.make_env import make_env
from dm2.battle.env import BattleEnv
from dm2.battle.records import World
from dm2.battle.rules_of_smac import FIRST_ATTACK, action_name
from dm2.battle.scenario import load_scenario, mechanics, unit_names
from dm2.core.checks import check_shape
from dm2.core.errors import UserError
from dm2.core.files import atomic_write, copy_file
from dm2.core.randomness import stream
from dm2.learners.ippo import IPPOPolicy
from dm2.learners.ppo import masked_log_softmax
from dm2.learners.qmix import QMIXPolicy
from dm2.learners.rmappo import RMAPPOPolicy
from dm2.nets.actor_critic import Folded, normalise
from dm2.nets.products import linear
from dm2.play.rollout import ActResult, Episodes, Hidden, Policy, collect
from dm2.viewer.recording import Battle, Recording, replay

ENGINE_LABEL = "built-in simulator, not StarCraft II"
GAME_SPEED = 22.4  # loops per second of the game's speed "faster", at which people play
AGENT_COLOUR, ENEMY_COLOUR = "#0072b2", "#d55e00"
POSITION_PARTS, HEALTH_PARTS = 256, 16  # of a map unit and of a point, as 16-bit integers hold them
UNAVAILABLE = -(2**15)
FRAMES_PER_STEP = 4  # of a GIF or MP4
PICTURE_INCHES, PICTURE_DPI = 6.0, 100
BAR_COLOURS = ("#009e73", "#56b4e9")  # health, shields
MARGIN = 2.0  # map units shown around where the units go
WINNER = {"agents": "the agents won", "enemies": "the enemies won", "time": "time ran out"}


Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in map units."""


@dataclass(frozen=True)
class Thoughts:
    """What a policy thought in one battle.

    Attributes:
        score_name: "probability" or "Q".
        scores: of every action in every step, float32 [steps, A, n_actions], NaN where it was not available; None if
            the policy has none.
        values: what each agent's critic expected, float32 [steps, A]; None if there is no critic.
        logits: what each agent's discriminator said of its step, the reward that it pays, float32 [steps, A]; None if
            there is none.
    """

    score_name: str
    scores: np.ndarray | None = None
    values: np.ndarray | None = None
    logits: np.ndarray | None = None


def record_battles(
    policy: Policy,
    map_name: str,
    seed: int,
    n_episodes: int,
    *,
    regeneration_pays: bool = True,
    discriminators: Callable[[Episodes], Tensor] | None = None,
) -> tuple[Recording, list[Thoughts]]:
    """Play episodes 0 to n_episodes - 1 of a seed on the simulator.

    Args:
        policy: who plays; one with critics (an IPPO learner's `policy()`) has their values shown.
        map_name: SMAC map.
        seed: of the battles and of the policy's draws.
        n_episodes: how many.
        regeneration_pays: quirk 4, it changes rewards only.
        discriminators: what they say of each step of episodes, [A, rows].

    Returns:
        The recording, and the policy's thoughts in each battle.
    """
    env = make_env("simulator", map_name, n_episodes, seed, regeneration_pays=regeneration_pays)
    numbers = np.arange(n_episodes)
    episodes = collect(env, _Telling(policy), numbers, stream(seed, "watch", "policy"))
    recording = Recording.of(episodes, numbers, map_name, seed, regeneration_pays)
    if discriminators is not None:
        episodes = replace(episodes, extras=episodes.extras | {"logits": discriminators(episodes)})
    return recording, _thoughts(episodes, "Q" if isinstance(policy, QMIXPolicy) else "probability")


class _Telling:
    """A policy that also records its scores of all actions."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy

    def initial_hidden(self, n_battles: int) -> Hidden:
        return self.policy.initial_hidden(n_battles)

    def act(
        self, obs: Tensor, last_actions: Tensor, avail_actions: Tensor, hidden: Hidden, uniform: Tensor
    ) -> ActResult:
        """The policy's own answer; see `dm2.play.rollout.Policy`."""
        result = self.policy.act(obs, last_actions, avail_actions, hidden, uniform)
        scores = action_scores(self.policy, result.hidden, avail_actions)
        told = {name: value for name, value in result.extras.items() if name == "value"}
        return replace(result, extras=told if scores is None else told | {"scores": scores})


@torch.no_grad()
def action_scores(policy: Policy, hidden: Hidden, avail_actions: Tensor) -> Tensor | None:
    """Probabilities (IPPO, R-MAPPO) or Q values (QMIX) of the actions that a policy has just chosen from.

    Args:
        policy: any; one of another kind has no scores.
        hidden: its recurrent state after the step, from which its last layer reads them.
        avail_actions: bool [A, B, n_actions].

    Returns:
        float32 [A, B, n_actions], NaN where the action is not available; None if the policy has none.
    """
    if isinstance(policy, QMIXPolicy):
        weight, bias = (policy.parameters[f"agent.values.{name}"] for name in ("weight", "bias"))
        scores = linear(hidden["hidden"].flatten(0, -2), weight.mT, bias).view(avail_actions.shape)
    elif isinstance(policy, IPPOPolicy):
        scores = masked_log_softmax(_head(policy.actor, hidden["actor_hidden"]), avail_actions).exp()
    elif isinstance(policy, RMAPPOPolicy):
        shared = _head(policy.actor, hidden["hidden"].flatten(0, 1)[None])
        scores = masked_log_softmax(shared.view(avail_actions.shape), avail_actions).exp()
    else:
        return None
    return scores.masked_fill(~avail_actions, torch.nan)


def _head(net: Folded, hidden: Tensor) -> Tensor:
    """The output layer of `dm2.nets.actor_critic.forward`."""
    return linear(normalise(hidden), net.head_weight, net.head_bias)


def _thoughts(episodes: Episodes, score_name: str) -> list[Thoughts]:
    starts = episodes.starts.tolist()
    by_row = {name: extra.swapaxes(0, 1).numpy() for name, extra in episodes.extras.items()}  # [rows, A, ...]
    spans = [slice(start, stop) for start, stop in itertools.pairwise(starts)]
    return [
        Thoughts(
            score_name, *(by_row[name][span] if name in by_row else None for name in ("scores", "value", "logits"))
        )
        for span in spans
    ]


# --- the page ------------------------------------------------------------------------------------------------------


def write_viewer(path: Path, recording: Recording, title: str, thoughts: Sequence[Thoughts] | None = None) -> None:
    """Write the page of a recording's battles.

    Args:
        path: HTML file to write.
        recording: the battles.
        title: who plays.
        thoughts: the policy's, one per battle; None if nothing is known of them.

    Raises:
        UserError: the recording cannot be replayed, or the file not be written.
    """
    battles = replay(recording)
    told = thoughts if thoughts is not None else [Thoughts("")] * len(battles)
    content = _scene(recording, battles) | {
        "title": title,
        "battles": [_packed(battle, told[e]) for e, battle in enumerate(battles)],
    }
    data = json.dumps(content, allow_nan=False, separators=(",", ":")).replace("</", "<\\/")
    page = (resources.files("dm2.viewer") / "viewer.html").read_text(encoding="utf-8")
    page = page.replace("@TITLE@", escape(f"{recording.map_name}: {title}")).replace("@BATTLES@", data)
    with atomic_write(path, "w") as file:
        file.write(page)


def _scene(recording: Recording, battles: Sequence[Battle]) -> dict[str, Any]:
    """What all battles of a map share."""
    world = load_scenario(recording.map_name)
    n_agents = int(world.rules[0]["n_agents"])
    n_actions = FIRST_ATTACK + len(world.kinds) - n_agents
    fields = {"radius": world.kinds["radius"], "range": world.arms[0]["range"]}
    fields |= {"max_health": world.kinds["max_health"], "max_shield": world.kinds["max_shield"]}
    names = unit_names(recording.map_name)
    return {
        "engine": ENGINE_LABEL,
        "backend": recording.backend,
        "map_name": recording.map_name,
        "seed": recording.seed,
        "n_agents": n_agents,
        "episode_limit": int(world.rules[0]["episode_limit"]),
        "seconds_per_step": mechanics().loops_per_step / GAME_SPEED,
        "view": shown_box(world, battles),
        "walkable": ["".join(".#"[not cell] for cell in column) for column in world.walkable],  # [x][y]
        "winner": WINNER,
        "actions": [action_name(action) for action in range(n_actions)],
        "units": [
            {
                "name": name,
                "heals": bool(world.kinds["heal_rate"][u] > 0),
                **{field: float(values[u]) for field, values in fields.items()},
            }
            for u, name in enumerate(names)
        ],
        "position_parts": POSITION_PARTS,
        "health_parts": HEALTH_PARTS,
        "unavailable": UNAVAILABLE,
    }


def shown_box(world: World, battles: Sequence[Battle]) -> Box:
    """The part of the map that is shown: where units go in any of the battles, and a margin, in whole map units."""
    size = len(world.walkable)
    edges = []
    for tracks in ([battle.x for battle in battles], [battle.y for battle in battles]):
        low, high = min(track.min() for track in tracks), max(track.max() for track in tracks)
        edges.append((max(-1.0, np.floor(low - MARGIN)), min(size + 1.0, np.ceil(high + MARGIN))))
    (x0, x1), (y0, y1) = edges
    return float(x0), float(y0), float(x1), float(y1)


def _packed(battle: Battle, thoughts: Thoughts) -> dict[str, Any]:
    """One battle as the page reads it: arrays as base64 of little-endian integers, frame by frame."""
    packed: dict[str, Any] = {
        "episode": battle.episode,
        "steps": battle.steps,
        "outcome": outcome(battle),
        "reward": [round(float(reward), 3) for reward in battle.reward],
        "x": _base64(battle.x * POSITION_PARTS, "<i2"),
        "y": _base64(battle.y * POSITION_PARTS, "<i2"),
        "health": _base64(np.ceil(battle.health * HEALTH_PARTS), "<i2"),  # what lives never shows 0
        "shield": _base64(np.ceil(battle.shield * HEALTH_PARTS), "<i2"),
        "alive": _base64(battle.alive, "<i1"),
        "target": _base64(battle.target, "<i1"),
        "fired": _base64(np.diff(battle.shots, axis=0) > 0, "<i1"),
        "actions": _base64(battle.actions, "<i1"),
    }
    for name, numbers in (("values", thoughts.values), ("logits", thoughts.logits)):
        if numbers is not None:
            check_shape(name, numbers, battle.actions.shape)
            packed[name] = [[round(float(number), 3) for number in step] for step in numbers]
    if thoughts.scores is not None:
        check_shape("scores", thoughts.scores, (*battle.actions.shape, None))
        parts = 2**15 / (1.0 + float(np.nanmax(np.abs(thoughts.scores))))
        scores = np.where(np.isnan(thoughts.scores), UNAVAILABLE, thoughts.scores * parts)
        packed |= {"score_name": thoughts.score_name, "score_parts": parts, "scores": _base64(scores, "<i2")}
    return packed


def _base64(array: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.rint(np.asarray(array, dtype=np.float64)).astype(kind).tobytes()).decode()


def outcome(battle: Battle) -> str:
    """Who won: "agents", "enemies", or "time" if only the episode limit ended the battle."""
    return "agents" if battle.battle_won else "time" if battle.truncated else "enemies"


# --- moving pictures -----------------------------------------------------------------------------------------------


@figure_settings()
def write_animation(path: Path, recording: Recording, title: str) -> None:
    """Write a recording's battles, one after the other, as GIF or MP4 at the game's speed.

    Args:
        path: file to write; its ending, .gif or .mp4, decides. MP4 needs ffmpeg.
        recording: the battles.
        title: who plays.

    Raises:
        UserError: another ending, no ffmpeg, the recording cannot be replayed, or the file not be written.
    """
    from matplotlib import animation

    names = {".gif": "pillow", ".mp4": "ffmpeg"}
    if path.suffix not in names:
        raise UserError(f"{path}: found the ending {path.suffix!r}, expected .gif or .mp4")
    if not animation.writers.is_available(names[path.suffix]):
        raise UserError(f"{path}: MP4 needs the program ffmpeg, found none; install it, or ask for a .gif")
    battles = replay(recording)
    world = load_scenario(recording.map_name)
    picture = _Picture(world, shown_box(world, battles), f"{recording.map_name}: {title}")
    frames_per_second = round(FRAMES_PER_STEP * GAME_SPEED / mechanics().loops_per_step)
    writer = animation.writers[names[path.suffix]](fps=frames_per_second)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / f"battles{path.suffix}"
        with writer.saving(picture.figure, str(film), dpi=PICTURE_DPI):
            for battle in battles:
                for time in _moments(battle):
                    picture.show(battle, time)
                    writer.grab_frame()
        copy_file(film, path)


@figure_settings()
def draw_moment(env: BattleEnv) -> np.ndarray:
    """The first battle of an env as it is now, uint8 [height, width, 3]; the fallen are not shown."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    size, units = len(env.world.walkable), env.battles.units[0]
    picture = _Picture(env.world, (0.0, 0.0, float(size), float(size)), env.spec.map_name)
    place = np.stack([env.battles.x[0], env.battles.y[0]], axis=1)
    target = np.where(units["alive"], units["target"], -1)
    text = f"step {int(env.battles.status['steps'][0])}"
    picture.draw(place, units["alive"], target, (units["health"], units["shield"]), text)
    canvas = FigureCanvasAgg(picture.figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def _moments(battle: Battle) -> np.ndarray:
    """When a film shows a battle, in env steps; the end is held for two."""
    times = np.arange((battle.steps + 2) * FRAMES_PER_STEP + 1) / FRAMES_PER_STEP
    return np.minimum(times, battle.steps)


class _Picture:
    """The picture of one moment of a battle."""

    def __init__(self, world: World, box: Box, title: str) -> None:
        from matplotlib.figure import Figure

        self.world, self.box, self.title = world, box, title
        self.n_agents = int(world.rules[0]["n_agents"])
        self.colours = np.array([AGENT_COLOUR] * self.n_agents + [ENEMY_COLOUR] * (len(world.kinds) - self.n_agents))
        x0, y0, x1, y1 = box
        height = (
            round(PICTURE_INCHES * (y1 - y0) / (x1 - x0) * PICTURE_DPI / 2) * 2 / PICTURE_DPI
        )  # even pixels for MP4
        self.figure = Figure(figsize=(PICTURE_INCHES, height + 0.5), dpi=PICTURE_DPI)
        self.axes = self.figure.add_axes((0.0, 0.0, 1.0, height / (height + 0.5)))

    def show(self, battle: Battle, time: float) -> None:
        """Draw a battle at a time in env steps."""
        step = min(int(time), battle.steps - 1)
        part = time - step
        place = np.stack([_between(track, step, part) for track in (battle.x, battle.y)], axis=1)
        left = [_between(track, step, part) for track in (battle.health, battle.shield)]
        ended = f" ({WINNER[outcome(battle)]})" if time >= battle.steps else ""
        text = f"episode {battle.episode}, step {int(time)}{ended}"
        self.draw(place, battle.alive[step + int(part)], battle.target[step + 1], left, text)

    def draw(
        self, place: np.ndarray, alive: np.ndarray, target: np.ndarray, left: Sequence[np.ndarray], text: str
    ) -> None:
        """Draw one moment.

        Args:
            place: float64 [U, 2].
            alive: bool [U].
            target: unit that is attacked or walked to, -1 if none, int64 [U].
            left: health and shields, float64 [U] each.
            text: what the title ends with.
        """
        self._draw_ground()
        self._draw_targets(place, alive, target)
        self._draw_units(place, alive)
        self._draw_bars(place, alive, left[0], self.world.kinds["max_health"], 1)
        self._draw_bars(place, alive, left[1], self.world.kinds["max_shield"], 2)
        self.axes.set_title(f"{self.title}, {text}\n{ENGINE_LABEL}", fontsize=8)

    def _draw_ground(self) -> None:
        x0, y0, x1, y1 = self.box
        size = len(self.world.walkable)
        self.axes.clear()
        self.axes.set_facecolor("0.8")
        extent = (0, size, 0, size)
        self.axes.imshow(self.world.walkable.T, origin="lower", extent=extent, cmap="gray", vmin=-4, vmax=1)
        self.axes.set(xlim=(x0, x1), ylim=(y0, y1), xticks=[], yticks=[])

    def _draw_targets(self, place: np.ndarray, alive: np.ndarray, target: np.ndarray) -> None:
        from matplotlib.collections import LineCollection

        busy = np.flatnonzero(alive & (target >= 0))
        lines = np.stack([place[busy], place[target[busy]]], axis=1)
        self.axes.add_collection(LineCollection(list(lines), colors=self.colours[busy], linewidths=0.8, alpha=0.5))

    def _draw_units(self, place: np.ndarray, alive: np.ndarray) -> None:
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Circle

        circles = [Circle((x, y), radius) for (x, y), radius in zip(place, self.world.kinds["radius"], strict=True)]
        self.axes.add_collection(PatchCollection(circles, color=self.colours, alpha=np.where(alive, 1.0, 0.15)))
        for u in np.flatnonzero(alive):
            number = str(u if u < self.n_agents else u - self.n_agents)
            self.axes.text(
                place[u, 0], place[u, 1], number, color="white", fontsize=6, ha="center", va="center_baseline"
            )

    def _draw_bars(self, place: np.ndarray, alive: np.ndarray, left: np.ndarray, full: np.ndarray, row: int) -> None:
        shown = alive & (full > 0)
        radius = self.world.kinds["radius"][shown]
        x, y = place[shown, 0] - radius, place[shown, 1] + radius + 0.18 * row
        self.axes.hlines(y, x, x + 2 * radius, color="0.7", linewidth=2)
        self.axes.hlines(y, x, x + 2 * radius * left[shown] / full[shown], color=BAR_COLOURS[row - 1], linewidth=2)


def _between(track: np.ndarray, step: int, part: float) -> np.ndarray:
    """Values [U] of a track [F, U] between two frames."""
    return (1.0 - part) * track[step] + part * track[step + 1]
