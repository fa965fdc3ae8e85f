"""The simulator beside logs of the real game that no learning stands between.

The logs are results/starcraft2/*.csv. The teams are

- *first*: a run's first episode, in which every action is drawn uniformly from the available ones;
- *window*: a run's first 10,000 env steps, epsilon-greedy around fresh nets (PyMARL's), epsilon falling as it fell
  there, so that a tenth of the actions (on some maps a twentieth) are a net's, the others random;
- *learning*: the same steps as they were played, by nets that learn: QMIX with a gradient step after each battle, as in
  PyMARL, makes a few hundred steps in them;
- *stops*: every agent stops, in every step;
- *walks*: every agent walks one way, in every step.

What the sources leave open was settled by `score` on SETTLED_ON, by teams that do not learn; the other maps are tests.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dm2.analysis.csv_files import read_csv
from dm2.battle.env import BattleEnv, load_scenario, simulator_spec
from dm2.battle.rules_of_smac import EAST, NO_OP, NORTH, REWARD_SCALE_RATE, SOUTH, STOP, WEST
from dm2.core.randomness import stream
from dm2.learners.qmix import QMIX, JointPolicy, QMIXPolicy, draw_parameters
from dm2.play.actions import epsilon_at
from dm2.play.rollout import collect
from dm2.settings.learners import QMIXSettings, QuirkSettings

SETTLED_ON = ("3m", "8m", "2s3z")
NOT_COMPARED = ("2s_vs_1sc",)
"""Maps on which what the nets of the logs learn within the first 10,000 env steps, to keep away, decides the length."""
QUANTITIES = ["length", "raw_reward", "dead_allies", "dead_enemies"]
"""Of a battle: env steps; SMAC's reward before its scaling; units."""
TOLERANCES = {"length": 0.03, "raw_reward": 0.03, "dead_allies": 0.05, "dead_enemies": 0.01}
"""How near is near enough, beyond the standard errors: of lengths and rewards relative, of the dead in units."""
WALKERS_TOLERANCES = {"length": 0.1, "dead_allies": 0.25}
"""The same for teams that walk, of whom the logs do not tell which way."""
ASSUMPTIONS: dict[str, dict[str, object]] = {
    "as it is": {},
    "units go to the edge of the map": {"edge_margin": 0.0},
    "units stay 1 from the edge": {"edge_margin": 1.0},
    "units stay 3 from the edge": {"edge_margin": 3.0},
    "a target walked to is kept": {"chase_nearest": False},
    "who walks turns at no cost": {"walkers_turn": False},
    "opponents are noticed 1/8 farther away": {"scan_margin": 0.125},
    "opponents are noticed 1/4 farther away": {"scan_margin": 0.25},
    "a repeated attack keeps the slop": {"slop_repeats": True},
    "the backswing holds a chaser": {"backswing_holds": True},
    "a Zealot walks before its second hit": {"second_hit_holds": False},
    "enemies look round every 2 loops": {"search_interval_loops": 2},
    "enemies look round every 6 loops": {"search_interval_loops": 6},
    "enemies look round every 8 loops": {"search_interval_loops": 8},
    "comrades of who is hit do not join": {"call_for_help_range": 0.0},
    "simulator 6's values": {"edge_margin": 0.0, "scan_margin": 0.125, "slop_repeats": True, "chase_nearest": False},
}
"""The variants that `score` was asked about: what they change."""
_NETS = 128  # fresh nets of a map's windows
_WINDOW = 10_000  # env steps
_SAME_LENGTH = 0.05  # tests whose mean lengths differ by less, relatively, are taken for the same behaviour
_HARMLESS = 0.1  # return below which a team is taken to attack nobody
_DIRECTIONS = {"east": EAST, "west": WEST, "north": NORTH, "south": SOUTH}

Team = Callable[[BattleEnv], np.ndarray]
"""The team's next actions in every battle, int64 [E, A]."""


def random_team(seed: int) -> Team:
    """Every available action alike."""
    generator = np.random.default_rng(seed)

    def act(env: BattleEnv) -> np.ndarray:
        return np.where(env.avail_actions, generator.random(env.avail_actions.shape), -1.0).argmax(axis=2)

    return act


def near_random_team(env: BattleEnv, seed: int, epsilon_anneal_env_steps: int) -> Team:
    """Epsilon-greedy around fresh nets, each in an equal share of the battles.

    The epsilon of each is that of another moment of a run's first 10,000 env steps.

    Args:
        env: the battles; a multiple of 128 of them, which is the number of nets.
        seed: of the nets and of the random actions.
        epsilon_anneal_env_steps: over which epsilon falls from 1 to 0.05.
    """
    spec, per_net = env.spec, env.n_battles // _NETS
    settings = QMIXSettings(epsilon_anneal_env_steps=epsilon_anneal_env_steps)
    generator = np.random.default_rng(seed)
    moments = [(2 * net + 1) * _WINDOW // (2 * _NETS) for net in range(_NETS)]
    policy = JointPolicy(
        [QMIXPolicy(draw_parameters(spec, settings, generator), spec, epsilon_at(at, settings)) for at in moments]
    )
    hidden = policy.initial_hidden(per_net)["hidden"].unflatten(0, (_NETS, spec.n_agents))  # [nets, A, battles, H]
    last_actions = torch.full((_NETS, spec.n_agents, per_net), -1)
    net = torch.arange(_NETS)[:, None]

    def act(env: BattleEnv) -> np.ndarray:
        active = torch.from_numpy(env.active.copy()).view(_NETS, per_net)
        width = int(active.sum(dim=1).max())
        columns = active.sort(dim=1, descending=True, stable=True).indices[:, :width]  # the battles that run come first
        uniform = torch.from_numpy(generator.random((_NETS * spec.n_agents, width), dtype=np.float32))

        def shown(array: np.ndarray) -> Tensor:
            """[E, A, ...] to [nets * A, width, ...]."""
            return torch.from_numpy(array).unflatten(0, (_NETS, per_net))[net, columns].transpose(1, 2).flatten(0, 1)

        agents = torch.arange(spec.n_agents)[:, None]
        at = net[..., None], agents, columns[:, None]
        before = {"hidden": hidden[at].flatten(0, 1)}
        chosen = policy.act(shown(env.obs), last_actions[at].flatten(0, 1), shown(env.avail_actions), before, uniform)
        hidden[at] = chosen.hidden["hidden"].unflatten(0, (_NETS, spec.n_agents))
        last_actions[at] = chosen.actions.unflatten(0, (_NETS, spec.n_agents))
        return np.ascontiguousarray(last_actions.transpose(1, 2).flatten(0, 1).numpy())

    return act


def steady_team(action: int) -> Team:
    """One action in every step, or a stop where it is not available."""

    def act(env: BattleEnv) -> np.ndarray:
        wanted = np.where(env.avail_actions[:, :, action], action, STOP)
        return np.where(env.avail_actions[:, :, NO_OP], NO_OP, wanted)

    return act


def play(env: BattleEnv, team: Team) -> pd.DataFrame:
    """Start every battle and play it to its end: QUANTITIES, one row per battle."""
    env.reset()
    length, reward = np.zeros(env.n_battles), np.zeros(env.n_battles)
    while env.active.any():
        length += env.active
        env.step(team(env))
        reward += env.reward
    dead = env.dead_allies.astype(float), env.dead_enemies.astype(float)
    return pd.DataFrame(dict(zip(QUANTITIES, (length, reward * _reward_scale(env), *dead), strict=True)))


def play_near_random(
    map_name: str, battles: int, seed: int, epsilon_anneal_env_steps: int = 50_000, **changes: object
) -> pd.DataFrame:
    """Battles of a run's first 10,000 env steps, with changed mechanics; as `play`."""
    whole = -(-battles // _NETS) * _NETS
    env = BattleEnv(map_name, whole, seed, world=load_scenario(map_name, **changes))
    return play(env, near_random_team(env, seed, epsilon_anneal_env_steps))


def play_learning(map_name: str, seed: int, epsilon_anneal_env_steps: int = 50_000) -> pd.DataFrame:
    """Battles of a run of QMIX until it has played 10,000 env steps; as `play`."""
    settings = QMIXSettings(n_battles=1, epsilon_anneal_env_steps=epsilon_anneal_env_steps)
    env = BattleEnv(map_name, 1, seed)
    learner, rows = QMIX(env.spec, settings, QuirkSettings(), seed), []
    while learner.env_steps < _WINDOW:
        generator = stream(seed, "policy", learner.episodes)
        episode = collect(env, learner.policy(), np.array([learner.episodes]), generator, keep_state=True)
        learner.learn(episode)
        dead = int(episode.dead_allies), int(episode.dead_enemies)
        rows.append((episode.rows, float(episode.returns) * _reward_scale(env), *dead))
    return pd.DataFrame(rows, columns=QUANTITIES)


def _reward_scale(env: BattleEnv) -> float:
    """What SMAC divides rewards by."""
    return float(env.world.rules[0]["max_reward"]) / REWARD_SCALE_RATE


def play_first(map_name: str, battles: int, seed: int, team: Team, **changes: object) -> pd.DataFrame:
    """Battles that are each the first of a game, with changed mechanics; as `play`."""
    world = load_scenario(map_name, **{"survivors_radius": 0.0} | changes)
    return play(BattleEnv(map_name, battles, seed, world=world), team)


# --- what the logs tell -----------------------------------------------------------------------------------------------


def logged(logs: Path) -> pd.DataFrame:
    """What the logs tell of teams other than walking ones.

    Returns:
        One row per map, team and quantity: map_name, team, quantity, starcraft2 (the mean), standard_error, n (runs or
        episodes).
    """
    return pd.concat([_first_episodes(logs), _windows(logs), _stopping(logs)], ignore_index=True)


def _summary(table: pd.DataFrame, team: str) -> pd.DataFrame:
    """Mean, standard error and count of every quantity that is known, per map.

    A count of the dead that never varied is taken to be known within one in n.
    """
    summary = table.melt(["map_name"], QUANTITIES, "quantity").dropna().groupby(["map_name", "quantity"], sort=False)
    result = summary.value.agg(["mean", "sem", "count"]).reset_index()
    result["sem"] = result["sem"].where(result["sem"] > 0, 1 / result["count"])
    result.insert(1, "team", team)
    return result.rename(columns={"mean": "starcraft2", "sem": "standard_error", "count": "n"})


def _first_episodes(logs: Path) -> pd.DataFrame:
    episodes = read_csv(logs / "real_battles_random_first_episodes.csv")
    table = _summary(episodes.rename(columns={"map": "map_name", "length_steps": "length"}), "first")
    means = read_csv(logs / "real_battles_random_rewards.csv").rename(columns={"map": "map_name"})
    return pd.concat([table, means.assign(team="first", quantity="raw_reward")], ignore_index=True)


def _windows(logs: Path) -> pd.DataFrame:
    runs = read_csv(logs / "real_battles_near_random_windows.csv")
    names = {"map": "map_name", "mean_length_steps": "length"} | {f"mean_{name}": name for name in QUANTITIES[1:]}
    return _summary(runs.rename(columns=names), "window")


def annealed_over(logs: Path) -> dict[str, int]:
    """Env steps over which epsilon fell in the windows, by map."""
    runs = read_csv(logs / "real_battles_near_random_windows.csv")
    return {str(name): int(steps) for name, steps in runs.groupby("map").epsilon_anneal_steps.first().items()}


def _tests(logs: Path) -> pd.DataFrame:
    """Tests of nets before training that attacked nobody: map_name, length, dead_allies, all_died."""
    tests = read_csv(logs / "real_battles_untrained_greedy_tests.csv").query("mean_return < @_HARMLESS")
    names = {"map": "map_name", "mean_length_steps": "length", "mean_dead_allies": "dead_allies"}
    tests = tests.rename(columns=names).dropna(subset="dead_allies")
    agents = {name: simulator_spec(name).n_agents for name in tests.map_name.unique()}
    return tests.assign(all_died=(tests.dead_allies == tests.map_name.map(agents)) & (tests.mean_raw_reward == 0))


def _stopping(logs: Path) -> pd.DataFrame:
    """Tests of untrained nets that never hurt an enemy and stood to die.

    Which nets only stopped is not recorded. Kept are tests without reward in which every agent died: the ones of a
    map's most frequent length (within 5 %), the longest of these where there are several.
    """
    rows = []
    for map_name, group in _tests(logs).query("all_died").groupby("map_name"):
        values = group.length.to_numpy()
        near = [values[abs(values / value - 1) < _SAME_LENGTH] for value in values]
        kept = max(near, key=lambda cluster: (len(cluster), cluster.mean()))
        error = kept.std(ddof=1) / np.sqrt(len(kept)) if len(kept) > 1 else 0.0
        rows.append((map_name, "stops", "length", kept.mean(), error, len(kept)))
    return pd.DataFrame(rows, columns=["map_name", "team", "quantity", "starcraft2", "standard_error", "n"])


# --- the simulator beside it ------------------------------------------------------------------------------------------


def _tolerances(table: pd.DataFrame, tolerances: dict[str, float]) -> np.ndarray:
    """How near is near enough, in each row's own unit."""
    shares = table.quantity.map(tolerances).to_numpy(float)
    return np.where(table.quantity.str.startswith("dead"), shares, shares * table.starcraft2.abs())


def beside_logs(logs: Path, maps: tuple[str, ...] | None, battles: int, seed: int, **changes: object) -> pd.DataFrame:
    """The simulator, with changed mechanics, beside the rows of `logged` of some maps (None: of all).

    Returns:
        The rows with role ("settled on", "test" or "not compared"), simulator (the mean), simulator_error,
        difference, relative_difference and deviation: the difference in units of the standard errors of both and the
        tolerance, combined as the root of the sum of their squares.
    """
    real, anneal, parts = logged(logs), annealed_over(logs), []
    for keys, rows in real.groupby(["map_name", "team"], sort=False):
        map_name, team = map(str, keys)
        if maps is not None and map_name not in maps:
            continue
        if team == "window":
            played = play_near_random(map_name, battles, seed, anneal[map_name], **changes)
            played = played.groupby(np.arange(len(played)) * _NETS // len(played)).mean()  # battles of a net are alike
        else:
            actor = random_team(seed) if team == "first" else steady_team(STOP)
            played = play_first(map_name, battles, seed, actor, **changes)
        parts.append(_beside(rows, played))
    return _compared(pd.concat(parts, ignore_index=True))


def learning_beside_logs(logs: Path, runs: int, seed: int) -> pd.DataFrame:
    """Nets that learn, so many runs on each map, beside the rows of the windows; as `beside_logs`, team "learning"."""
    windows, anneal, parts = _windows(logs).assign(team="learning"), annealed_over(logs), []
    for name, rows in windows.groupby("map_name", sort=False):
        map_name = str(name)
        played = [play_learning(map_name, seed + run, anneal[map_name]).mean() for run in range(runs)]
        parts.append(_beside(rows, pd.DataFrame(played)))
    return _compared(pd.concat(parts, ignore_index=True))


def _beside(rows: pd.DataFrame, played: pd.DataFrame) -> pd.DataFrame:
    """The rows with the means of what was played and their standard errors."""
    simulated = {"simulator": played.mean(), "simulator_error": played.sem()}
    return rows.assign(**{name: rows.quantity.map(values) for name, values in simulated.items()})


def _compared(table: pd.DataFrame) -> pd.DataFrame:
    """The rows with their roles and differences."""
    settled = table.map_name.isin(SETTLED_ON)
    left_out = table.map_name.isin(NOT_COMPARED)
    table.insert(1, "role", np.select([settled, left_out], ["settled on", "not compared"], "test"))
    table["difference"] = table.simulator - table.starcraft2
    table["relative_difference"] = (table.difference / table.starcraft2).where(table.starcraft2 > 0)
    spread = table.standard_error**2 + table.simulator_error**2 + _tolerances(table, TOLERANCES) ** 2
    table["deviation"] = table.difference / np.sqrt(spread)
    return table


def walkers(logs: Path, battles: int, seed: int, **changes: object) -> pd.DataFrame:
    """Untrained nets that hurt nobody and did not all die, each beside teams that walk in the direction most like it.

    Returns:
        One row per map and quantity: map_name, team ("walks"), quantity, starcraft2 and simulator (means over nets),
        n (nets) and deviation (root mean square over the nets, in units of WALKERS_TOLERANCES).
    """
    rows = []
    for key, nets in _tests(logs).query("not all_died").groupby("map_name"):
        map_name = str(key)
        found = nets[list(WALKERS_TOLERANCES)].to_numpy()  # [nets, quantities]
        ways = np.array(
            [
                play_first(map_name, battles, seed, steady_team(way), **changes)[list(WALKERS_TOLERANCES)].mean()
                for way in _DIRECTIONS.values()
            ]
        )
        unit = np.array(list(WALKERS_TOLERANCES.values())) * np.stack([found[:, 0], np.ones(len(found))], axis=1)
        apart = (ways - found[:, None]) / unit[:, None]  # [nets, ways, quantities]
        nearest = np.square(apart).sum(axis=2).argmin(axis=1)
        deviations = np.sqrt(np.square(apart[np.arange(len(found)), nearest]).mean(axis=0))
        means = zip(WALKERS_TOLERANCES, found.mean(axis=0), ways[nearest].mean(axis=0), deviations, strict=True)
        rows += [(map_name, "walks", name, real, len(nets), ours, deviation) for name, real, ours, deviation in means]
    return pd.DataFrame(rows, columns=["map_name", "team", "quantity", "starcraft2", "n", "simulator", "deviation"])


def score(logs: Path, battles: int, seed: int, **changes: object) -> dict[str, float]:
    """How far the simulator with changed mechanics is from the logs of SETTLED_ON.

    Returns:
        The root mean square of the deviations of all QUANTITIES, over all teams ("score") and by team.
    """
    near = beside_logs(logs, SETTLED_ON, battles, seed, **changes)
    walking = walkers(logs, battles // 4, seed, **changes)
    table = pd.concat([each[["team", "deviation"]] for each in (near, walking)])
    squares = np.square(table.deviation)
    return {"score": float(np.sqrt(squares.mean())), **np.sqrt(squares.groupby(table.team, sort=False).mean())}


def assumptions(logs: Path, battles: int, seed: int) -> pd.DataFrame:
    """One row per variant of ASSUMPTIONS: its `score`, the smaller the nearer."""
    rows = [{"variant": name} | score(logs, battles, seed, **changes) for name, changes in ASSUMPTIONS.items()]
    return pd.DataFrame(rows)


def nearness(table: pd.DataFrame) -> pd.DataFrame:
    """The certificate in a few lines: over the maps of `beside_logs`, how far random play is from the logs.

    Of every map counts the log that says most of it, as it was played: the windows with nets that learn, where they
    have none the first episodes.

    Returns:
        One row per quantity and role: quantity, role ("settled on", "test", "all"), maps, root_mean_square, largest and
        largest_on; of lengths and rewards relative, of the dead in units.
    """
    random = table[table.team.isin(["learning", "first"]) & (table.role != "not compared")]
    random = random.sort_values("team", ascending=False, kind="stable").drop_duplicates(["map_name", "quantity"])
    rows = []
    for quantity in QUANTITIES:
        for role in ("settled on", "test", "all"):
            of = random[(random.quantity == quantity) & ((random.role == role) | (role == "all"))].set_index("map_name")
            apart = of["difference" if quantity.startswith("dead") else "relative_difference"]
            if len(apart):
                largest = str(apart.abs().idxmax())
                rms = float(np.sqrt(np.square(apart).mean()))
                rows.append((quantity, role, len(apart), rms, float(apart[largest]), largest))
    return pd.DataFrame(rows, columns=["quantity", "role", "maps", "root_mean_square", "largest", "largest_on"])


def walk(logs: Path) -> pd.DataFrame:
    """One row per unit of the real 2s3z episode whose first 16 game loops are known: how far it came, there and here.

    Lengths are in map units, x to the east and y to the north.
    """
    table = read_csv(logs / "real_episode_2s3z_walk.csv")
    env = BattleEnv("2s3z", 1, 0, world=load_scenario("2s3z", start_delay_loops=0, survivors_radius=0.0))
    env.reset()
    start = {"x": env.battles.x[0].copy(), "y": env.battles.y[0].copy()}
    for _ in range(2):
        env.step(np.full((1, env.spec.n_agents), EAST))
    for axis, positions in (("x", env.battles.x[0]), ("y", env.battles.y[0])):
        table[f"{axis}_starcraft2"] = table[f"{axis}_after"] - table[axis]
        table[f"{axis}_simulator"] = positions - start[axis]
    return table.drop(columns=["x_after", "y_after"])
