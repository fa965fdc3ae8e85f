"""Throughput of the simulator and of every learner at the paper's settings, the memory that each takes, and start-up.

    python benchmarks/throughput.py [--map-names 5m_vs_6m ...] [--csv FILE] [--parts PART ...]

Each part runs in a process of its own, so that its peak memory is its own. Figures are medians over repeats, in env
steps per second of wall time and of processor time; only the first tells what a user gets, the second helps on a
machine that does something else at the same time.

simulator: 1, 32, 256 and 2,048 battles, random available actions, observations and availability included, on one thread
and on two in turn; the ratio of the two is the median over pairs of laps. smax: the same play in SMAX of the package
jaxmarl, as many battles, on all cores; skipped where the package is not. learners: one thread, alone and two runs side
by side (their rates added up); collecting, learning and a share of the evaluations (one per 50,000 env steps, as in the
paper), and which share of the processor time each of them takes. Operations are those of matrix products, 2 m k n each,
counted while the learner learns (benchmarks/matrix_products.py); matrix_share is their rate over that of products of
1,024 by 1,024 matrices by the fastest library of dm2/nets/products.py, all per second of one process's processor time:
what is left to 1 is spent on anything but products, or on products too small to be fast. startup: seconds from the
command to its end, of `dm2 --help` and, at scale paper, of reading the Snakefile and of a dry run. Every learner starts
from a team that was trained for `--warm-up` env steps, because untrained teams die sooner, and what is dead costs less.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).parents[1]
PARTS = ("simulator", "smax", "ippo", "dm2_ippo_demo", "qmix", "rmappo", "startup")
SEED = 112358
SIMULATOR_LAPS = 15
SIMULATOR_BATTLES = (1, 32, 256, 2048)
SIMULATOR_ENV_STEPS = 100_000
"""Of a lap with 256 battles or more; with fewer, a lap is as many steps of the batch."""
COMMANDS = {
    "dm2 --help": ["dm2", "--help"],
    "Snakefile": ["snakemake", "--configfile", "config/scales/paper.yaml", "--list-rules"],
    "dry run": ["snakemake", "--configfile", "config/scales/paper.yaml", "--dry-run", "--forceall", "--quiet", "rules"],
}


def main() -> None:
    arguments = parse_arguments()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments)))
        return
    rows = []
    for part in arguments.parts:
        if part == "startup":
            rows += measure_startup(arguments.repeats)
        elif part == "smax":
            rows += [row for map_name in arguments.map_names for row in measure_smax(map_name, arguments.peer_python)]
        else:
            rows += [row for map_name in arguments.map_names for row in run_part(part, map_name, arguments)]
    table = pd.DataFrame(rows).convert_dtypes()  # whole numbers stay whole where other rows have none
    print(table.to_string(index=False))
    if arguments.csv:
        table.to_csv(arguments.csv, index=False)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--map-names", nargs="+", default=["5m_vs_6m"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--warm-up", type=int, default=100_000, help="env steps")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--peer-python", default=sys.executable, help="Python that has jaxmarl, if this one has not")
    parser.add_argument("--measure", choices=PARTS, help=argparse.SUPPRESS)
    return parser.parse_args()


def run_part(part: str, map_name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure one part in a process of its own, a learner also beside a second one."""
    rows = measured_together(part, map_name, arguments, 1)
    return rows if part == "simulator" else rows + measured_together(part, map_name, arguments, 2)


def measured_together(part: str, map_name: str, arguments: argparse.Namespace, runs: int) -> list[dict[str, Any]]:
    """Measure one part in so many processes at once; rates are added up, all else is of one process."""
    options = ["--map-names", map_name, "--repeats", arguments.repeats, "--warm-up", arguments.warm_up]
    command = [sys.executable, __file__, "--measure", part, *map(str, options)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(runs)]
    answers = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit(f"error: measuring {part} failed; its own message is above")
    parts: list[list[dict[str, Any]]] = [json.loads(answer.splitlines()[-1]) for answer in answers]
    rows = []
    for same in zip(*parts, strict=True):
        rates = {name: sum(row[name] for row in same) for name in ("env_steps_per_second", "per_processor_second")}
        rows.append(same[0] | {"runs": runs} | rates)
    return rows


def measure(part: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of one part."""
    from dm2.training.provenance import cpu_model, peak_memory_bytes

    map_name = arguments.map_names[0]
    if part == "simulator":
        rows = [row for battles in SIMULATOR_BATTLES for row in measure_simulator(map_name, battles)]
    else:
        rows = [measure_learner(part, map_name, arguments)]
    for row in rows:
        row["peak_memory_gib"] = round(peak_memory_bytes() / 2**30, 2)
        row["cpu"] = f"{cpu_model()}, {os.cpu_count()} cores"
    return rows


def measure_smax(map_name: str, python: str) -> list[dict[str, Any]]:
    """Random play in SMAX; nothing where it cannot be imported or has no such map."""
    if subprocess.run([python, "-c", "import jaxmarl"], check=False, capture_output=True).returncode:
        print(f"smax: skipped, {python} has no package jaxmarl (--peer-python names one that has)", file=sys.stderr)
        return []
    rows = []
    for battles in SIMULATOR_BATTLES:
        command = [python, Path(__file__).with_name("smax.py"), "--map-name", map_name, "--battles", str(battles)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            print(f"smax: skipped on {map_name}: {done.stderr.strip().splitlines()[-1]}", file=sys.stderr)
            return []
        rows.append(
            {"part": "smax", "map_name": map_name, "battles": battles, **json.loads(done.stdout.splitlines()[-1])}
        )
    return rows


def measure_startup(repeats: int) -> list[dict[str, Any]]:
    """How long commands take that do nothing but start."""
    rows, programs = [], Path(sys.executable).parent
    for name, (program, *options) in COMMANDS.items():
        seconds = []
        for _ in range(repeats):
            started = time.perf_counter()
            subprocess.run([programs / program, *options], cwd=ROOT, check=True, capture_output=True)
            seconds.append(time.perf_counter() - started)
        rows.append({"part": name, "seconds": round(statistics.median(seconds), 2), "repeats": repeats})
    return rows


def measure_simulator(map_name: str, n_battles: int) -> list[dict[str, Any]]:
    """Random play on one thread and on two."""
    from dm2.backends.make_env import make_env

    draw, steps = uniform_actions(), SIMULATOR_ENV_STEPS // max(256, n_battles)
    envs = [make_env("simulator", map_name, n_battles, SEED, n_threads=n, autoreset=True) for n in (1, 2)]
    for env in envs:
        env.reset()
        play_randomly(env, draw, 100)  # compiled, and battles in all phases
    # In turn, so that whatever else slows the machine slows both.
    laps = [[timed(lambda env=env: play_randomly(env, draw, steps)) for env in envs] for _ in range(SIMULATOR_LAPS)]
    one, two = zip(*laps, strict=True)
    rows = [
        row_of("simulator", map_name, threads + 1, of) | {"battles": n_battles} for threads, of in enumerate((one, two))
    ]
    ratio = statistics.median(alone[1] / together[1] for alone, together in laps)
    print(
        f"simulator, {n_battles} battles: two threads {ratio:.2f} times one (median over {len(laps)} pairs of laps)",
        file=sys.stderr,
    )
    return rows


def play_randomly(env: Any, draw: Any, steps: int) -> int:
    """Step all battles with random available actions; how many env steps were played."""
    generator = np.random.default_rng(SEED)
    actions = np.zeros((env.n_battles, env.spec.n_agents), dtype=np.int64)
    for _ in range(steps):
        draw(env.avail_actions, generator.random(actions.shape), actions)
        env.step(actions)
    return steps * env.n_battles


def uniform_actions() -> Any:
    """A compiled draw of uniform available actions."""
    import numba

    @numba.njit
    def draw(avail_actions: np.ndarray, uniform: np.ndarray, actions: np.ndarray) -> None:
        for battle in range(actions.shape[0]):
            for agent in range(actions.shape[1]):
                left = int(uniform[battle, agent] * avail_actions[battle, agent].sum())
                for action in range(avail_actions.shape[2]):
                    if avail_actions[battle, agent, action]:
                        if left == 0:
                            actions[battle, agent] = action
                            break
                        left -= 1

    return draw


def measure_learner(condition: str, map_name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Whole updates of one learner, and its share of evaluations."""
    import torch
    from matrix_products import best_rate, counted

    from dm2.backends.make_env import env_spec, make_env
    from dm2.learners.interface import Learner, build_learner
    from dm2.play.demonstrations import sample_demonstrations
    from dm2.play.evaluation import evaluate
    from dm2.settings.matrix import Matrix, Run
    from dm2.training.memory import keep_freed_memory

    torch.set_num_threads(1)
    keep_freed_memory()
    matrix = Matrix.load(ROOT / "config", {"scale": "paper"})
    spec = env_spec("simulator", map_name)

    def prepare(condition: str) -> tuple[Any, Learner]:
        settings = matrix.settings(Run(map_name, condition, SEED))
        demonstrations = None
        if settings.demonstrations is not None:
            _, expert = prepare(settings.demonstrations.expert)
            demonstrations = sample_demonstrations(
                [expert.policy()],
                spec,
                lambda n_battles, seed: make_env("simulator", map_name, n_battles, seed),
                seeds=[SEED],
                episodes=settings.demonstrations.episodes,
                metadata=settings.demonstrations.model_dump(mode="json", exclude={"expert_seeds"}),
            )
        learner = build_learner(spec, settings, demonstrations)
        play(learner, matrix.settings(Run(map_name, condition, SEED)), arguments.warm_up, first_episode=0)
        return settings, learner

    settings, learner = prepare(condition)
    env_steps_per_repeat = max(20_000, arguments.warm_up // 5)
    laps, spent = [], dict.fromkeys(("rollout", "update"), 0.0)
    for repeat in range(arguments.repeats):
        first = (repeat + 1) * 1_000_000
        laps.append(timed(lambda first=first: play(learner, settings, env_steps_per_repeat, first, spent)))
    evaluation = timed(
        lambda: bool(evaluate(learner.greedy_policy(), "simulator", map_name, SEED, settings.evaluation_episodes))
    )
    share = np.array(evaluation[1:]) / settings.evaluation_interval
    spent["evaluation"] = sum(steps for steps, _, _ in laps) * share[1]
    laps = [(steps, wall + steps * share[0], processor + steps * share[1]) for steps, wall, processor in laps]
    row = row_of(condition, map_name, 1, laps)
    row |= {f"{name}_share": round(seconds / sum(spent.values()), 3) for name, seconds in spent.items()}
    if settings.qmix is not None:
        row["gradient_steps_per_episode"] = settings.qmix.gradient_steps / settings.qmix.n_battles
    played = []
    operations = counted(lambda: played.append(play(learner, settings, env_steps_per_repeat, 900_000_000)))
    gflop_per_second = operations / played[0] * row["per_processor_second"] / 1e9
    return row | {
        "mflop_per_env_step": round(operations / played[0] / 1e6, 2),
        "gflop_per_second": round(gflop_per_second, 1),
        "matrix_share": round(gflop_per_second / best_rate(1024, 1024, 1024), 2),
    }


def play(learner: Any, settings: Any, env_steps: int, first_episode: int, spent: dict[str, float] | None = None) -> int:
    """Train for at least `env_steps`; how many were played.

    Args:
        learner: who learns.
        settings: of its run.
        env_steps: at least so many.
        first_episode: number of the first battle.
        spent: processor seconds of "rollout" and "update", added to if given.
    """
    from dm2.backends.make_env import make_env
    from dm2.core.randomness import stream
    from dm2.play.rollout import collect

    battles, played, episode = learner.episodes_per_update, 0, first_episode
    env = make_env("simulator", settings.map_name, battles, settings.seed)
    while played < env_steps:
        numbers = np.arange(episode, episode + battles)
        generator = stream(settings.seed, "policy", episode)
        started = time.process_time()
        needs = {"keep_state": learner.keeps_state, "act_at_end": learner.acts_at_end}
        episodes = collect(env, learner.policy(), numbers, generator, **needs)
        collected = time.process_time()
        learner.learn(episodes)
        if spent is not None:
            spent["rollout"] += collected - started
            spent["update"] += time.process_time() - collected
        played, episode = played + episodes.rows, episode + battles
    return played


def timed(work: Any) -> tuple[int, float, float]:
    """What the work returns, its wall seconds and its processor seconds."""
    wall, processor = time.perf_counter(), time.process_time()
    result = work()
    return result, time.perf_counter() - wall, time.process_time() - processor


def row_of(part: str, map_name: str, threads: int, laps: Sequence[tuple[int, float, float]]) -> dict[str, Any]:
    """One row of the table."""
    return {
        "part": part,
        "map_name": map_name,
        "runs": 1,
        "threads": threads,
        "env_steps_per_second": round(statistics.median(steps / wall for steps, wall, _ in laps)),
        "per_processor_second": round(statistics.median(steps / processor for steps, _, processor in laps)),
        "repeats": len(laps),
    }


if __name__ == "__main__":
    main()
