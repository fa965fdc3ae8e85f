"""The code of others, unchanged, plays and learns here.

Opt in with `make test-clients CLIENTS=DIR`. DIR holds clones that are named as their repositories, and `.venv`, the
environment they run in: docs/clients.md tells how to lay it out. Clones are copied, so that nothing changes in them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from support.pages import PROGRAMS, REPOSITORY

from dm2.battle.scenario import map_data

pytestmark = pytest.mark.clients

SUPPORT = REPOSITORY / "tests" / "support" / "clients"
SOURCES = {
    "epymarl": "https://github.com/uoe-agents/epymarl",
    "on-policy": "https://github.com/marlbenchmark/on-policy",
    "pymarl": "https://github.com/oxwhirl/pymarl",
    "smac": "https://github.com/oxwhirl/smac",
}
ADAPTER, STAND_IN = "adapter", "stand-in"  # python -m dm2.adapters.smac; oxwhirl/smac, pysc2 and the program
WAYS = [ADAPTER, STAND_IN]


class Clients:
    """Clones, and the environment they run in."""

    def __init__(self, folder: Path, scratch: Path) -> None:
        self.folder, self.scratch = folder.resolve(), scratch
        self.python = self.folder / ".venv" / "bin" / "python"
        if not self.python.exists():
            pytest.fail(f"found no {self.python}, expected the clients' environment: docs/clients.md")

    def there(self, name: str) -> Path:
        """A clone; who asks for these tests expects it."""
        clone = self.folder / name
        if not clone.is_dir():
            pytest.fail(f"found no {clone}, expected it: git clone {SOURCES[name]} {clone}")
        return clone

    def copy(self, name: str) -> Path:
        """A copy of a clone, to run in."""
        ignored = shutil.ignore_patterns(".git", "results")
        return Path(shutil.copytree(self.there(name), self.scratch / name, ignore=ignored))

    def run(self, folder: Path, *arguments: str, way: str = ADAPTER, package: str = "smac") -> str:
        """What Python prints when it runs a script of the folder with these arguments, or -m and a module.

        With the stand-in, `package` is the clone whose code starts the game.
        """
        places = [str(SUPPORT), str(REPOSITORY)]
        surroundings = os.environ | {"OMP_NUM_THREADS": "1"}
        before = ["-m", "dm2.adapters.smac"]
        if way == STAND_IN:
            places.append(str(self.there(package)))
            surroundings["SC2PATH"] = self._stand_in(places)
            # s2clientprotocol is older than protobuf 4
            surroundings["PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"] = "python"
            before = []
        surroundings["PYTHONPATH"] = os.pathsep.join(places)
        return self._printed([*before, *arguments], folder, surroundings)

    def _stand_in(self, places: list[str]) -> str:
        folder = self.scratch / "stand-in"
        surroundings = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
        self._printed([*PROGRAMS["dm2"], "stand-in", "install", str(folder)], self.scratch, surroundings)
        return str(folder)

    def _printed(self, arguments: list[str], folder: Path, surroundings: dict[str, str]) -> str:
        done = subprocess.run(
            [str(self.python), *arguments],
            cwd=folder,
            env=surroundings,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1800,
        )
        assert done.returncode == 0, done.stdout[-5000:]
        return done.stdout


@pytest.fixture
def clients(request: pytest.FixtureRequest, tmp_path: Path) -> Clients:
    return Clients(Path(request.config.getoption("clients")), tmp_path)


def recent_stats(log: str) -> dict[str, float]:
    """The last table that PyMARL's logger printed."""
    table = log.rpartition("Recent Stats")[2].partition("\n[")[0]
    return {name: float(value) for name, value in re.findall(r"(\w+):\s+(-?\d[\d.]*)", table)}


def training(algorithm: str, runner: str, workers: int) -> list[str]:
    """How PyMARL is asked for 3,000 environment steps on 3m."""
    intervals = [f"{name}_interval=1000" for name in ("test", "log", "runner_log", "learner_log")]
    options = ["env_args.map_name=3m", "seed=1", "use_cuda=False", "t_max=3000", *intervals]
    options += [f"runner={runner}", f"batch_size_run={workers}", "test_nepisode=4"]
    return ["src/main.py", f"--config={algorithm}", "--env-config=sc2", "with", *options]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("runner", "workers"), [("episode", 1), ("parallel", 4)])
def test_pymarl(clients: Clients, way: str, runner: str, workers: int) -> None:
    log = clients.run(clients.copy("pymarl"), *training("qmix", runner, workers), way=way)
    seen = recent_stats(log)
    assert "Finished Training" in log and seen["t_env"] > 2000
    assert seen["loss"] > 0 and 0 < seen["return_mean"] < 20 and 0 < seen["test_return_mean"] <= 20
    assert 0 <= seen["battle_won_mean"] <= 1 and 0 <= seen["test_battle_won_mean"] <= 1
    assert seen["test_ep_length_mean"] <= 60
    # a test is one greedy battle of each worker, all of one seed: they are not copies
    assert seen["test_return_std"] > 0


@pytest.mark.parametrize(
    ("algorithm", "runner", "workers"), [("qmix", "episode", 1), ("qmix", "parallel", 4), ("ippo", "parallel", 10)]
)
def test_epymarl_learns_the_same_either_way(clients: Clients, algorithm: str, runner: str, workers: int) -> None:
    folder, tables = clients.copy("epymarl"), []
    for way in WAYS:
        log = clients.run(folder, *training(algorithm, runner, workers), way=way)
        assert "Finished Training" in log
        tables.append(recent_stats(log))
    first, second = tables
    assert first["t_env"] > 2000 and 0 < first["return_mean"] < 20 and first["return_std"] > 0
    assert first["loss" if algorithm == "qmix" else "critic_loss"] > 0
    assert 0 <= first["test_return_mean"] <= 20 and 0 < first["test_ep_length_mean"] <= 60
    # the ways' observations differ by 1.2e-7 at most, and the table has four decimals
    assert second == pytest.approx(first, abs=2e-4)


@pytest.mark.parametrize("way", WAYS)
def test_smacs_example(clients: Clients, way: str) -> None:
    printed = clients.run(clients.copy("smac"), "smac/examples/random_agents.py", way=way)
    returns = [float(one) for one in re.findall(r"Total reward in episode \d+ = ([\d.]+)", printed)]
    assert len(returns) == 10 and len(set(returns)) > 1 and all(0 < one < 20 for one in returns)


def test_smacs_list_of_maps(clients: Clients) -> None:
    printed = clients.run(clients.copy("smac"), "smac/bin/map_list.py", way=STAND_IN)
    assert {line.split()[0] for line in printed.splitlines()[1:]} == set(map_data().maps)


OPTIONS = {
    "obs_all_health": False,
    "obs_own_health": False,
    "obs_last_action": True,
    "obs_pathing_grid": True,
    # not obs_timestep_number: SMAC's observations then have a zero more than its get_obs_size() says
    "state_timestep_number": True,
    "state_last_action": False,
    "reward_only_positive": False,
    "reward_defeat": -50,
    "continuing_episode": True,
}


@pytest.mark.parametrize(
    ("map_name", "options"),
    [*((name, {}) for name in sorted(map_data().maps)), *((name, OPTIONS) for name in ("1c3s5z", "MMM2", "corridor"))],
)
def test_smacs_class_through_the_stand_in_has_our_numbers(
    clients: Clients, map_name: str, options: dict[str, object]
) -> None:
    arguments = (str(SUPPORT / "same_as_smac.py"), map_name, "1000", json.dumps(options))
    seen = json.loads(clients.run(clients.scratch, *arguments, way=STAND_IN).splitlines()[-1])
    assert seen["steps"] >= 1000 and seen["battles"] >= 2


def test_on_policy(clients: Clients) -> None:
    clone = clients.copy("on-policy")
    options = ["--map_name", "3m", "--algorithm_name", "rmappo", "--use_wandb", "--use_eval"]
    numbers = {"n_rollout_threads": 2, "episode_length": 100, "num_env_steps": 4000, "log_interval": 2}
    numbers |= {"eval_interval": 5, "eval_episodes": 8}
    options += [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    scripts = clone / "onpolicy" / "scripts"
    clients.run(scripts / "train", "train_smac.py", *options, way=STAND_IN, package="on-policy")
    (summary,) = scripts.glob("results/StarCraft2/3m/rmappo/check/run1/logs/summary.json")
    seen = {
        name.rpartition("/")[2]: [value for _, _, value in points]
        for name, points in json.loads(summary.read_text()).items()
    }
    assert len(seen["eval_win_rate"]) == 4 and all(0 < one <= 20 for one in seen["eval_average_episode_rewards"])
    assert seen["average_step_rewards"][-1] > 2 * seen["average_step_rewards"][0]
    running = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(clients.scratch) not in running  # every game has ended


FLAGS = "--use_state_agent --add_local_obs --add_move_state --add_distance_state --add_xy_state --add_visible_state"


@pytest.mark.parametrize(("map_name", "flags"), [*((name, "") for name in sorted(map_data().maps)), ("2s3z", FLAGS)])
def test_on_policys_class_through_the_stand_in_has_our_numbers(clients: Clients, map_name: str, flags: str) -> None:
    arguments = (str(SUPPORT / "same_as_on_policy.py"), map_name, "300", *flags.split())
    printed = clients.run(clients.scratch, *arguments, way=STAND_IN, package="on-policy")
    seen = json.loads(printed.splitlines()[-1])
    assert seen["steps"] >= 300 and seen["battles"] >= 1
