"""One interface, several battle engines.

`make_env` opens an engine by its name: `simulator` is the built-in battle simulator (dm2/battle), `starcraft2` the real
game through oxwhirl/smac (dm2/backends/starcraft2.py).
"""

from __future__ import annotations

from dm2.core.interface import BatchedEnv, EnvSpec
from dm2.settings.base import SettingsError, did_you_mean
from dm2.settings.run import BACKENDS


def check_backend(backend: str) -> None:
    """Refuse an unknown engine.

    Raises:
        SettingsError: `backend` is none of BACKENDS.
    """
    if backend not in BACKENDS:
        raise SettingsError(f"unknown backend {backend!r}; {did_you_mean(backend, BACKENDS)}")


def env_spec(backend: str, map_name: str) -> EnvSpec:
    """Sizes of `map_name`'s interface.

    Raises:
        SettingsError: unknown backend or map.
        UserError: backend starcraft2 without StarCraft II.
    """
    check_backend(backend)
    if backend == "starcraft2":
        from dm2.backends.starcraft2 import starcraft2_spec

        return starcraft2_spec(map_name)
    from dm2.battle.env import simulator_spec

    return simulator_spec(map_name)


def make_env(
    backend: str,
    map_name: str,
    n_battles: int,
    seed: int,
    *,
    n_threads: int = 1,
    regeneration_pays: bool = True,
    autoreset: bool = False,
) -> BatchedEnv:
    """Open `n_battles` battles.

    Args:
        backend: one of BACKENDS.
        map_name: a SMAC map.
        n_battles: E.
        seed: a battle is a function of (seed, episode number, actions); of StarCraft II this is not promised.
        n_threads: threads of the simulator; they do not change results. Of StarCraft II, games at once: the env then
            has as many battles as divide n_battles evenly, and `dm2.play.rollout.collect` plays in waves.
        regeneration_pays: SMAC's positive-only reward is an absolute value, so shield that enemies regain pays
            (quirk 4 of the original code); off, it costs nothing and pays nothing.
        autoreset: a battle that ends starts again within the same step.

    Raises:
        SettingsError: unknown backend or map.
        ValueError: an impossible number.
        UserError: backend starcraft2 without StarCraft II, or with an option that SMAC does not have.
    """
    check_backend(backend)
    if backend == "starcraft2":
        return _starcraft2_env(map_name, n_battles, seed, n_threads, regeneration_pays, autoreset)
    from dm2.battle.env import BattleEnv

    return BattleEnv(
        map_name, n_battles, seed, n_threads=n_threads, regeneration_pays=regeneration_pays, autoreset=autoreset
    )


def _starcraft2_env(
    map_name: str, n_battles: int, seed: int, n_threads: int, regeneration_pays: bool, autoreset: bool
) -> BatchedEnv:
    from dm2.backends.starcraft2 import StarCraft2Battles
    from dm2.core.errors import UserError

    if n_battles < 1 or n_threads < 1:
        raise ValueError(f"n_battles {n_battles}, n_threads {n_threads}: expected >= 1")
    if not regeneration_pays:
        raise UserError("backend starcraft2: found regeneration_pays false, expected true; SMAC's reward is always so")
    if autoreset:
        raise UserError("backend starcraft2: found autoreset, expected none; reset the battles once all have ended")
    games = max(number for number in range(1, min(n_battles, n_threads) + 1) if n_battles % number == 0)
    return StarCraft2Battles(map_name, games, seed)
