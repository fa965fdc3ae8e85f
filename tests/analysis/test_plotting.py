"""dm2.analysis.plotting: figures do not depend on the user's matplotlib settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from dm2.analysis.plotting import figure_settings
from dm2.battle.env import BattleEnv
from dm2.viewer.watch import draw_moment

FOREIGN = """
text.usetex: True
font.family: serif
font.serif: cmr10
font.size: 20
figure.facecolor: black
savefig.bbox: tight
savefig.dpi: 31
axes.prop_cycle: cycler(color=['r'])
axes.grid: True
axes.formatter.use_mathtext: True
lines.linewidth: 9
pdf.compression: 0
image.cmap: hot
"""
PROGRAM = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from support import figure_tables, win_rate_tables
from dm2.analysis.curve_figures import make_figure, save
from dm2.analysis.interval_figures import make_interval_figure
from dm2.calibration.win_rates import beside_published, scatter, trained
folder = Path(sys.argv[2])
tables = figure_tables.learning_curves(), figure_tables.demonstrations(), figure_tables.paper()
make_figure(figure_tables.description(), *tables, folder / "core")
make_interval_figure("area", figure_tables.description(), tables[0], folder / "area", None)
teams = [trained(win_rate_tables.curves(), win_rate_tables.paper_curves("qmix"))]
rates = beside_published(teams, win_rate_tables.STARCRAFT2 / "published_win_rates.csv")
save(scatter(rates, "engine"), folder / "rates")
"""


def test_a_matplotlibrc_changes_no_figure(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text(FOREIGN)
    files = []
    for name, environment in (("plain", {}), ("foreign", {"MATPLOTLIBRC": str(tmp_path / "matplotlibrc")})):
        command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parents[1]), str(tmp_path / name)]
        subprocess.run(command, check=True, env=os.environ | environment)
        files.append({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()})
    assert set(files[0]) >= {"core.pdf", "core.png", "area.pdf", "area.png", "rates.pdf", "rates.png"}
    assert files[0] == files[1]


def test_a_picture_of_a_battle_does_not_depend_on_them_either() -> None:
    env = BattleEnv("3m", 1, 0)
    env.reset()
    plain = draw_moment(env)
    with mpl.rc_context({"font.size": 20, "figure.facecolor": "black", "image.cmap": "hot", "axes.linewidth": 9}):
        assert (draw_moment(env) == plain).all()
        assert mpl.rcParams["font.size"] == 20  # and counts again


def test_a_label_with_two_dollars_is_no_mathematics(tmp_path: Path) -> None:
    with figure_settings():
        figure = Figure()
        text = figure.text(0, 0, "5$ a run, 3$ without $\\frac$")
        figure.savefig(tmp_path / "figure.png")
    assert not text.get_parse_math() and text.get_text() == "5$ a run, 3$ without $\\frac$"


def test_where_a_program_is_stays_the_users(tmp_path: Path) -> None:
    with mpl.rc_context({"animation.ffmpeg_path": "/opt/ffmpeg"}), figure_settings():
        assert mpl.rcParams["animation.ffmpeg_path"] == "/opt/ffmpeg"
