"""The package without its repository: a wheel in an environment of its own.

Opt in with `make test-wheel`; it fetches everything that the package needs, torch first, as `make setup` does.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import dm2

REPOSITORY = Path(__file__).parents[2]
CONSTRAINTS = REPOSITORY / "constraints.txt"
SMAC_SCRIPT = """
from smac.env import StarCraft2Env
env = StarCraft2Env(map_name="3m", seed=1)
env.reset()
ended = False
while not ended:
    reward, ended, info = env.step([max(a for a, ok in enumerate(row) if ok) for row in env.get_avail_actions()])
print(sorted(info))
"""
GYMNASIUM_SCRIPT = """
import gymnasium
env = gymnasium.make_vec("dm2.adapters.gymnasium:dm2/3m-v0", num_envs=2)
observation, info = env.reset(seed=1)
ended = False
while not ended:
    observation, reward, terminated, truncated, info = env.step(observation["action_mask"].argmax(axis=2))
    ended = (terminated | truncated).any()
print(sorted(info["final_info"]))
"""

pytestmark = pytest.mark.wheel


class Environment:
    """A virtual environment that holds the wheel, and a folder to work in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.programs = folder / "environment" / "bin"

    def run(self, program: str, *arguments: str) -> str:
        """What a program of the environment prints."""
        surroundings = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        command = [str(self.programs / program), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        assert done.returncode == 0, done.stdout
        return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(REPOSITORY)]
    done = subprocess.run(build, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    (wheel,) = (folder / "dist").glob("*.whl")
    subprocess.run([sys.executable, "-m", "venv", str(folder / "environment")], check=True)
    environment = Environment(folder)
    (torch,) = re.findall(r"^torch==.+", CONSTRAINTS.read_text(), re.MULTILINE)
    environment.run("python", "-m", "pip", "install", torch)
    environment.run("python", "-m", "pip", "install", "-c", str(CONSTRAINTS), f"{wheel}[adapters]")
    return environment


def test_it_holds_every_file_of_the_package(installed: Environment) -> None:
    there = Path(installed.run("python", "-c", "import dm2; print(dm2.__file__)").strip()).parent
    assert there.is_relative_to(installed.folder)
    assert files_of(there) == files_of(REPOSITORY / "dm2")


def files_of(package: Path) -> set[Path]:
    return {
        path.relative_to(package) for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_command_explains_itself(installed: Environment) -> None:
    assert "sample-demonstrations" in installed.run("dm2", "--help")
    assert installed.run("dm2", "--version").strip() == dm2.__version__


def test_a_battle_can_be_watched(installed: Environment) -> None:
    installed.run("dm2", "watch", "--policy", "heuristic", "--map", "3m", "--output", "battle.html")
    assert "heuristic policy" in (installed.folder / "battle.html").read_text()


@pytest.mark.parametrize(
    ("script", "arguments", "printed"),
    [
        (SMAC_SCRIPT, ["-m", "dm2.adapters.smac"], "['battle_won', 'dead_allies', 'dead_enemies']"),
        (
            GYMNASIUM_SCRIPT,
            [],
            "['_battle_won', '_dead_allies', '_dead_enemies', 'battle_won', 'dead_allies', 'dead_enemies']",
        ),
    ],
    ids=["SMAC", "Gymnasium"],
)
def test_a_battle_is_played_by_other_code(
    installed: Environment, script: str, arguments: list[str], printed: str
) -> None:
    (installed.folder / "script.py").write_text(script)
    assert installed.run("python", *arguments, "script.py").strip() == printed
