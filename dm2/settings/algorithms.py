"""Where each algorithm is, loaded when it is asked for, and the code that its results depend on.

The list of algorithms is `dm2.settings.run.ALGORITHMS`: each has its block of settings, which names who learns and who
plays. What learns from demonstrations or from own episodes is IPPO with something around it, whose block of settings
names it.

This module imports neither torch nor numba.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Any

from dm2.settings.base import SettingsError
from dm2.settings.code_digest import code_digest
from dm2.settings.run import ALGORITHMS, RunSettings

ENGINES = {"starcraft2": "dm2.backends.starcraft2"}
"""Modules that a run on another engine does not use."""


def learner_name(settings: RunSettings) -> str:
    """Who learns, as `module:attribute`; see `dm2.settings.learners.AlgorithmSettings`."""
    if settings.is_open_loop:
        return "dm2.learners.open_loop:build_learner"
    around = settings.self_imitation or settings.cloning or settings.discriminator
    return ALGORITHMS[settings.algorithm].learner if around is None else around.learner


def policy_name(settings: RunSettings) -> str:
    """Who plays with what was learned, as `module:attribute`."""
    return "dm2.learners.open_loop:build_policy" if settings.is_open_loop else ALGORITHMS[settings.algorithm].policy


def load(name: str) -> Any:
    """Import what a `module:attribute` names."""
    return resolve_name(name)


def check_given(settings: RunSettings, demonstrations: object | None) -> None:
    """Refuse to do without the demonstrations that settings name, and to take some where they name none.

    Raises:
        SettingsError: so it is.
    """
    reads_demonstrations = settings.demonstrations is not None
    if reads_demonstrations != (demonstrations is not None):
        wanted, found = ("demonstrations", "none") if reads_demonstrations else ("no demonstrations", "some")
        raise SettingsError(
            f"condition {settings.condition!r} with reward {settings.reward!r} needs {wanted}, found {found}:"
            f" {'name an archive' if reads_demonstrations else 'leave it out'} (--demonstrations)"
        )


def run_digest(stage: str, settings: RunSettings) -> str:
    """Digest of the code of a stage that trains a run or plays with its policy.

    It counts the run's own algorithm, engine and map: a change to another one leaves it alone.

    Args:
        stage: module of the stage, e.g. "dm2.scripts.train".
        settings: of the run.
    """
    others = [module for engine, module in ENGINES.items() if engine != settings.backend]
    names = (stage, learner_name(settings), policy_name(settings))
    return code_digest(*names, leave_out=others, map_names=[settings.map_name])
