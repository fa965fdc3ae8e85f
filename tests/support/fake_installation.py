"""A folder that looks like StarCraft II with its packages, and plays a tiny game; put it on sys.path.

The fake SMAC has StarCraft2Env's constructor and methods. A "game" is a process that sleeps, its id stands in the file
`pids` of the folder with the worker's. Battles last 4 steps, or 6, the limit, if the last action of agent 0 was STOP.
The file `faults` names what goes wrong, by word: `launch` (the first reset raises), `crash` (the process dies
in the third step), `hang` (it no longer answers), `game` (SMAC's own report of a dead game in the third step);
it is removed once it has gone wrong unless it says `always` too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

SMAC = """
import os, pathlib, subprocess, sys, time

import numpy as np

ROOT = pathlib.Path(__file__).parents[3]


def fault(word):
    file = ROOT / "faults"
    try:
        words = file.read_text().split()
        if word in words and "always" not in words:
            file.unlink()  # one process alone succeeds
    except FileNotFoundError:
        return False
    return word in words


class StarCraft2Env:
    def __init__(self, map_name="8m", step_mul=8, difficulty="7", seed=None, continuing_episode=False):
        self.n_agents, self.n_enemies = {"3m": (3, 3), "8m": (8, 8)}[map_name]
        self.options = (step_mul, difficulty, continuing_episode)
        self.seed, self.episode, self.steps, self.game = seed, -1, 0, None

    def get_env_info(self):
        n_actions = 6 + self.n_enemies
        return dict(n_agents=self.n_agents, n_actions=n_actions, obs_shape=4, state_shape=3, episode_limit=6)

    def reset(self):
        if self.game is None:
            print("fake StarCraft II starts", file=sys.stderr, flush=True)
            if fault("launch"):
                raise RuntimeError("no OpenGL here")
            self.game = subprocess.Popen(["sleep", "600"])
            with open(ROOT / "pids", "a") as file:
                print(os.getpid(), self.game.pid, file=file)
        self.episode, self.steps = self.episode + 1, 0

    def step(self, actions):
        assert self.options == (8, "7", True) and len(actions) == self.n_agents
        self.steps += 1
        if self.steps == 3 and fault("crash"):
            print("fake StarCraft II: out of memory", file=sys.stderr, flush=True)
            os._exit(7)
        if self.steps == 3 and fault("hang"):
            time.sleep(600)
        if self.steps == 3 and fault("game"):
            return 0, True, {}
        info = dict(battle_won=False, dead_allies=int(self.steps > 1), dead_enemies=0)
        if self.steps == 4 and actions[0] != 1:
            info.update(battle_won=True, dead_enemies=self.n_enemies)
            return 20.0, True, info
        if self.steps == 6:
            return 0.5, True, info | {"episode_limit": True}
        return 0.5, False, info

    def get_obs(self):
        return [np.array([self.seed % 1000, self.episode, self.steps, agent]) for agent in range(self.n_agents)]

    def get_state(self):
        return np.array([self.seed % 1000, self.episode, self.steps], dtype=np.float64)

    def get_avail_actions(self):
        dead = self.steps > 1
        rows = [[0] + [1] * (5 + self.n_enemies) for _ in range(self.n_agents)]
        rows[-1] = [1] + [0] * (5 + self.n_enemies) if dead else rows[-1]
        return rows

    def close(self):
        if self.game is not None:
            self.game.kill()
            self.game.wait()
"""


def install_game(root: Path, build: int = 75689) -> Path:
    """The game and two maps; returns the folder for SC2PATH."""
    game = root / "StarCraftII"
    executable = game / "Versions" / f"Base{build}" / "SC2_x64"
    executable.parent.mkdir(parents=True)
    executable.touch(mode=0o755)
    folder = game / "Maps" / "SMAC_Maps"
    folder.mkdir(parents=True)
    for name in ("3m", "9m"):
        (folder / f"{name}.SC2Map").touch()
    return game


def install_packages(root: Path) -> Path:
    """smac, pysc2, s2clientprotocol and a protobuf that needs no help; returns the folder for sys.path."""
    packages = root / "packages"
    for name in ("pysc2", "s2clientprotocol", "smac", "smac/env", "smac/env/starcraft2"):
        (packages / name).mkdir(parents=True)
        (packages / name / "__init__.py").touch()
    (packages / "smac" / "env" / "__init__.py").write_text("from smac.env.starcraft2 import StarCraft2Env\n")
    (packages / "smac" / "env" / "starcraft2" / "__init__.py").write_text(SMAC)
    metadata = packages / "protobuf-3.20.3.dist-info" / "METADATA"
    metadata.parent.mkdir()
    metadata.write_text("Metadata-Version: 2.1\nName: protobuf\nVersion: 3.20.3\n")
    return packages


def processes(packages: Path) -> list[int]:
    """Workers and games that were started so far."""
    return [int(number) for number in (packages / "pids").read_text().split()]


def is_running(process: int) -> bool:
    """Whether there is such a process, and no zombie."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until_gone(numbers: list[int], seconds: float) -> None:
    """Fail if one of the processes is there for longer."""
    end = time.monotonic() + seconds
    while any(map(is_running, numbers)) and time.monotonic() < end:
        time.sleep(0.05)
    assert not any(map(is_running, numbers))


def install_automl_smac(packages: Path) -> None:
    """AutoML's SMAC3, as the package index would bring it."""
    (packages / "smac" / "facade").mkdir(parents=True)
    (packages / "smac" / "__init__.py").touch()


def forget_packages() -> None:
    """Take the imported packages, fakes or not, out of this process, with the command-line flags that they defined."""
    for name in [name for name in sys.modules if is_of_the_game(name)]:
        del sys.modules[name]
    if "absl.flags" in sys.modules:  # which refuses a flag defined anew, if the module has the address of the old one
        flags = sys.modules["absl.flags"].FLAGS
        for module, defined in list(flags.flags_by_module_dict().items()):
            for flag in list(defined) if is_of_the_game(module) else ():
                delattr(flags, flag.name)


def is_of_the_game(module: str) -> bool:
    """Whether a module is of SMAC, pysc2 or the protocol."""
    return module.split(".")[0] in ("smac", "pysc2", "s2clientprotocol")
