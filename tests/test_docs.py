"""What the pages say holds: their commands and Python run, what they name is there, their tables are those of the data.

tests/test_extending.py follows docs/extending.md, tests/workflow/test_reproduction.py plans the inline commands of
docs/reproduction.md, and tests/battle/test_page.py holds the pages about the simulator to the code.
"""

import contextlib
import importlib
import importlib.util
import json
import re
import shlex
import shutil
import subprocess
import tomllib
from collections.abc import Callable
from pathlib import Path

import click
import pytest
import yaml
from snakemake.cli import parse_args
from support.pages import REPOSITORY, blocks, commands, run
from typer.main import get_command

from dm2 import cli
from dm2.analysis.results_page import front_page
from dm2.settings.files import Condition, FigureSettings, Scale
from dm2.settings.matrix import Matrix
from dm2.settings.run import RunSettings

FOLLOWED = "docs/extending.md"
NAMES = ["README.md", "CONTRIBUTING.md", "config/README.md", "benchmarks/README.md"]
NAMES += sorted(str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "docs").glob("*.md"))
PAGES = {name: (REPOSITORY / name).read_text(encoding="utf-8") for name in NAMES}
COMMANDS = [command for name, page in PAGES.items() if name != FOLLOWED for command in commands(page)]
RULES = set(
    re.findall(
        r"^(?:use rule \w+ as|rule) (\w+)",
        "".join(path.read_text() for path in (REPOSITORY / "workflow").rglob("*.smk")),
        re.MULTILINE,
    )
)
NOT_RUN = {
    "make reproduce": "ten minutes; tests/workflow/test_smoke.py runs the workflow at scale smoke",
    "make setup": "installs",
    "make lint": "half a minute, and not a test's",
    "make format": "changes the sources",
    "make test": "this",
    "make test-wheel": "installs",
    "make test-slurm": "installs Slurm",
    "make test-clients": "runs clones",
    "make test-clients CLIENTS=../clients": "runs clones",
    "make schemas": "writes into workflow/; tests/workflow/test_schemas.py",
    "make figures": "writes into figures/; tests/analysis/ draws",
    "python -m pytest tests/learners/test_ippo.py": "a test in a test",
    "python -m pytest tests/backends --starcraft": "needs StarCraft II",
    "snakemake": "ten minutes",
    "snakemake --config scale=smoke": "tests/workflow/test_smoke.py does",
    "snakemake --configfile config/scales/paper.yaml -n": "tests/workflow/test_planning.py does",
    "snakemake --forcerun train_from_demonstrations": "trains",
    "snakemake --forcerun sample_demonstrations": "trains",
    "snakemake --config scale=laptop -- results/laptop/runs/3s_vs_3z/dm2_ippo_demo/seed-112358/metrics.csv": (
        "half an hour; tests/workflow/test_planning.py plans it"
    ),
    "snakemake --report report.html": "tests/workflow/test_smoke.py does",
    "snakemake --set-threads train_from_demonstrations=8": "trains",
    "snakemake --profile workflow/profiles/slurm --configfile config/scales/paper.yaml": "tests/slurm does, on request",
    "snakemake --directory ELSEWHERE --config scale=smoke -n": "needs a finished scale; tests/workflow/test_smoke.py",
    "dm2 watch results/quick/experts/3m/ippo/100.safetensors --episodes 2 --output docs/battle.gif": "draws a minute",
    "dm2 draw-figures quick --figure core": "tests/scripts/test_draw_figures.py does",
    "dm2 train --settings R/settings.yaml --run-directory R": "a run; tests/training/ resumes",
    "dm2 train --settings R/settings.yaml --run-directory R --fresh": "a run; tests/training/ starts over",
    "dm2 add-runs paper COPIED/paper/runs/*/*/seed-*": "needs finished runs; tests/analysis/test_merging.py adds some",
    "dm2 draw-figures paper": "needs tables of scale paper",
    "dm2 stand-in install stand-in": "needs websockets; tests/adapters/test_stand_in.py does",
    'pip install -e ".[slurm]"': "installs",
    'pip install -e ".[starcraft2]"': "installs",
    "pip install --no-deps pysc2==4.0.0 s2clientprotocol==5.0.17.98310.0"
    ' "smac @ git+https://github.com/oxwhirl/smac.git@d6aab33"': "installs",
    "git clone https://github.com/oxwhirl/smac ../clients/smac": "fetches",
    "git clone https://github.com/oxwhirl/pymarl ../clients/pymarl": "fetches",
    "git clone https://github.com/marlbenchmark/on-policy ../clients/on-policy": "fetches",
    "git clone https://github.com/uoe-agents/epymarl ../clients/epymarl": "fetches",
    "pip install -r tests/support/clients/requirements.txt": "installs",
    "pip install --no-deps pysc2==4.0.0": "installs",
    "source ../clients/.venv/bin/activate": "the shell's",
    "source .venv/bin/activate": "the shell's",
    "export SC2PATH=~/StarCraftII": "the shell's",
    "export SC2PATH=stand-in": "the shell's",
    "tar --create --zstd --file smoke.tar.zst results/smoke figures/smoke .snakemake/metadata": "needs a scale",
    "tar --extract --zstd --file smoke.tar.zst --directory ELSEWHERE": "needs the archive",
    "rm -r R": "tar's and rm's own",
    "rm -r results/smoke figures/smoke": "tar's and rm's own",
}
"""Commands of the pages that no test runs as they stand, and why; each is checked as far as it can be, see CHECKS."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """All other commands, run in a copy of what they read, page by page from top to bottom; what each printed."""
    project = tmp_path_factory.mktemp("project")
    for name in ("config", "workflow", "benchmarks", "results/quick", "results/paper"):
        ignored = shutil.ignore_patterns("runs", "demonstrations", "logs", "battles")
        shutil.copytree(REPOSITORY / name, project / name, ignore=ignored)
    return {command: run(command, project) for command in COMMANDS if command not in NOT_RUN}


def test_what_is_not_run_stands_on_a_page() -> None:
    assert set(NOT_RUN) <= set(COMMANDS)


def test_blocks_are_of_known_kinds() -> None:
    """A block without a kind would escape the tests."""
    for name, page in PAGES.items():
        kinds = re.findall(r"^```(\w*)$", page, re.MULTILINE)[::2]
        assert set(kinds) <= {"console", "python", "yaml", "mermaid"}, name
        assert name == FOLLOWED or "yaml" not in kinds, name


def test_commands_run(outputs: dict[str, str]) -> None:
    assert {command.split()[0] for command in outputs} == {"dm2", "snakemake"}
    trained = json.loads(outputs["dm2 evaluate my-run/policies/100.safetensors --episodes 320"])
    assert (trained["condition"], trained["n_episodes"]) == ("ippo", 320)
    assert "reward_weight: 0.3" in outputs["dm2 show-settings 5m_vs_6m dm2_ippo_demo --scale paper"]


def parsed_by_dm2(words: list[str]) -> None:
    """Options and arguments are those of the command; paths that must be there are made."""
    for word in words:
        if "/" in word:
            Path(word).parent.mkdir(parents=True, exist_ok=True)
            Path(word).touch()
    command: click.Command = get_command(cli.app)
    while isinstance(command, click.Group):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("dm2", words)


def parsed_by_snakemake(words: list[str]) -> None:
    """Options are Snakemake's, rules and files are there, the configuration is one."""
    with contextlib.chdir(REPOSITORY):
        _, options = parse_args(words)  # reads the profile
    assert {*(options.forcerun or ()), *(options.set_threads or ())} <= RULES
    given = {key: yaml.safe_load(value) for key, value in (one.split("=", 1) for one in options.config or ())}
    for path in options.configfile or ():
        given |= yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))
    Matrix.load(REPOSITORY / "config", given)


def known_to_make(words: list[str]) -> None:
    planned = subprocess.run(["make", "-n", *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert planned.returncode == 0, planned.stderr


def found_by_python(words: list[str]) -> None:
    assert words[0] == "-m" and importlib.util.find_spec(words[1]) is not None
    assert all((REPOSITORY / word).exists() for word in words[2:] if not word.startswith("-"))


def declared_in_pyproject(words: list[str]) -> None:
    """Extras are there, and what is pinned is pinned alike."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {one for wanted in extras.values() for one in wanted if "==" in one}
    assert words[0] == "install"
    for word in words[1:]:
        assert not (extra := re.fullmatch(r"\.\[([\w-]+)\]", word)) or extra[1] in extras
        assert not word.startswith("s2clientprotocol==") or word in pins


def nothing_to_check(words: list[str]) -> None:
    """Programs that are not ours."""


CHECKS: dict[str, Callable[[list[str]], None]] = {
    **{"dm2": parsed_by_dm2, "snakemake": parsed_by_snakemake, "make": known_to_make, "python": found_by_python},
    **{"pip": declared_in_pyproject},
    **dict.fromkeys(("source", "export", "tar", "rm", "git"), nothing_to_check),
}


@pytest.mark.parametrize("command", NOT_RUN)
def test_a_command_that_is_not_run_is_one(command: str, tmp_path: Path) -> None:
    program, *words = shlex.split(command)
    with contextlib.chdir(tmp_path):
        CHECKS[program](words)


@pytest.mark.parametrize("name", [name for name in PAGES if name != FOLLOWED and blocks(PAGES[name], "python")])
def test_python_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for block in blocks(PAGES[name], "python"):
        exec(compile(block, name, "exec"), {})
    if name == "README.md":
        assert "Evaluation(n_episodes=64, win_rate=1.0" in capsys.readouterr().out


GITIGNORED = r"dm2/__pycache__|results/\w+/(runs|demonstrations|logs|battles|report\.html)|(results|figures)/smoke"
"""What .gitignore keeps out of the repository."""


@pytest.mark.parametrize("name", PAGES)
def test_files_that_a_page_names_are_there(name: str) -> None:
    page = re.sub(r"^```.*?^```$", "", PAGES[name], flags=re.MULTILINE | re.DOTALL)
    links = re.findall(r'\]\((?!http)([^)#]+)|<img src="([^"]+)"', page)
    assert [link for link in map("".join, links) if not (REPOSITORY / name).parent.joinpath(link).exists()] == []
    tops = "dm2|config|workflow|results|figures|tests|docs|benchmarks"
    named = [path for path in re.findall(rf"`((?:{tops})/[\w./-]*)`", page) if not re.match(GITIGNORED, path)]
    new = re.findall(r"[Nn]ew file `([^`]+)`", page)
    assert [path for path in named if path not in new and not (REPOSITORY / path).exists()] == []


@pytest.mark.parametrize("name", PAGES)
def test_names_that_a_page_looks_up_are_there(name: str) -> None:
    for names, path in re.findall(r"((?:`\w+`(?:, | and )?)+) \(?in `(dm2/[\w/]+)\.py`", PAGES[name]):
        module = importlib.import_module(path.replace("/", "."))
        assert all(hasattr(module, one) for one in re.findall(r"\w+", names.replace(" and ", " "))), (names, path)
    rules = [
        one for names in re.findall(r"[Rr]ules? ((?:`\w+`(?:, | and )?)+)", PAGES[name]) for one in names.split("`")
    ]
    assert {one for one in rules if re.fullmatch(r"\w{4,}", one)} <= RULES


README = PAGES["README.md"]
SHOWN = re.findall(r'<img src="figures/(\w+)/core\.png"', README)[0]
"""The scale that the front page shows: the path of its figure says which."""


def test_the_front_page_is_short_and_its_battle_small() -> None:
    assert len(README.splitlines()) <= 100
    assert (REPOSITORY / "docs" / "battle.gif").stat().st_size < 1_500_000


def test_the_verdicts_on_the_front_page_are_those_of_the_tables() -> None:
    ours, papers = (Matrix.load(REPOSITORY / "config", {"scale": scale}) for scale in (SHOWN, "paper"))
    made = front_page(README, REPOSITORY / "results" / SHOWN, f"figures/{SHOWN}", ours, papers)
    assert made == README, f"dm2 write-results-page {SHOWN} --front-page README.md"


def keys_of(page: str, section: str) -> list[str]:
    """Keys in the first column of the tables of a section."""
    text = page.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [key for cell in cells for key in re.findall(r"`(\w+)`", cell)]


def test_the_configuration_page_has_every_key() -> None:
    page = PAGES["config/README.md"]
    blocks_of_a_run = [*RunSettings.blocks(), "reward"]
    assert sorted(keys_of(page, "A scale's keys")) == sorted(Scale.model_fields)
    assert sorted(keys_of(page, "A condition's keys")) == sorted([*Condition.model_fields, *blocks_of_a_run])
    assert sorted(keys_of(page, "A figure's keys")) == sorted(FigureSettings.model_fields)
    scales = {path.stem for path in (REPOSITORY / "config" / "scales").glob("*.yaml")}
    assert set(re.findall(r"`(\w+)`", page.partition("\nScales: ")[2].partition("\n\n")[0])) == scales


def test_the_page_of_reproduction_counts_the_runs_of_each_scale() -> None:
    rows = re.findall(r"^\| (\w+) \| .* \| (\d+) \|$", PAGES["docs/reproduction.md"], re.MULTILINE)
    assert [scale for scale, _ in rows] == ["smoke", "quick", "laptop", "paper"]
    for scale, runs in rows:
        assert len(Matrix.load(REPOSITORY / "config", {"scale": scale}).runs) == int(runs)
