"""python -m dm2.adapters.smac: code written for SMAC runs as it is, in processes of its own too."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import multiprocessing, sys
import numpy as np
from helper import NAME
from smac.env import MultiAgentEnv, StarCraft2Env
from smac.env.multiagentenv import MultiAgentEnv as Base
from smac.env.starcraft2.maps import get_map_params
from smac.env.starcraft2.maps.smac_maps import get_smac_map_registry, map_param_registry
from smac.env.starcraft2.starcraft2 import Direction, StarCraft2Env as Same

def play(seed):
    from smac.env import StarCraft2Env
    env = StarCraft2Env(map_name=NAME, seed=seed)
    env.reset()
    terminated = False
    while not terminated:
        actions = [np.random.choice(np.flatnonzero(env.get_avail_agent_actions(a))) for a in range(env.n_agents)]
        reward, terminated, info = env.step(actions)
    env.close()
    return type(env).__module__

if __name__ == "__main__":
    assert issubclass(StarCraft2Env, MultiAgentEnv) and Base is MultiAgentEnv and Same is StarCraft2Env
    assert get_map_params(NAME)["n_agents"] == 3 and set(map_param_registry) == set(get_smac_map_registry())
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(sys.argv, play(0), *pool.map(play, [1]), __name__)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "theirs.py").write_text(SCRIPT)
    (tmp_path / "helper.py").write_text("NAME = '3m'\n")
    return tmp_path


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "dm2.adapters.smac", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("named", [["theirs.py"], ["-m", "theirs"]])
def test_a_script_runs_with_its_arguments_and_workers(folder: Path, named: list[str]) -> None:
    done = run(folder, *named, "with", "seed=3")
    assert done.returncode == 0, done.stderr
    assert "'with', 'seed=3'] dm2.adapters.smac dm2.adapters.smac __main__" in done.stdout


@pytest.mark.parametrize("named", [["theirs.py"], ["-m", "theirs"]])
def test_a_smac_that_lies_beside_the_script_is_not_taken(folder: Path, named: list[str]) -> None:
    (folder / "smac").mkdir()
    (folder / "smac" / "__init__.py").write_text("raise AssertionError('the one beside the script')")
    done = run(folder, *named)
    assert done.returncode == 0, done.stderr
    assert "dm2.adapters.smac dm2.adapters.smac __main__" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "found"), [([], "found no script"), (["nowhere.py"], "found nowhere.py"), (["-m"], "found no")]
)
def test_without_a_script_one_sentence_says_so(folder: Path, arguments: list[str], found: str) -> None:
    done = run(folder, *arguments)
    assert done.returncode == 1
    assert found in done.stderr and "python -m dm2.adapters.smac SCRIPT.py" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_script_that_fails_fails(folder: Path) -> None:
    (folder / "broken.py").write_text("from smac.env import StarCraft2Env\nStarCraft2Env('3mm')\n")
    done = run(folder, "broken.py")
    assert done.returncode == 1 and "unknown map '3mm'" in done.stderr


def test_another_smac_that_was_imported_is_not_replaced(folder: Path) -> None:
    (folder / "smac.py").write_text("")
    program = "import smac; from dm2.adapters.run_script import offer_smac; offer_smac()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), *sys.path]))}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert "offer it before importing it" in done.stderr
