"""The maps under their names in Gymnasium's registry: dm2/3m-v0 and so on, for `gymnasium.make_vec`.

Gymnasium calls `register_maps` itself when it is imported, by the entry point in pyproject.toml; so nothing heavy is
imported here.
"""

from __future__ import annotations

from importlib import resources

import gymnasium
import yaml

ENTRY_POINT = "dm2.adapters.gymnasium:BattleVectorEnv"


def register_maps() -> None:
    """Register every map that the simulator knows; those that are there already stay."""
    maps = (resources.files("dm2") / "battle" / "data" / "maps.yaml").read_text(encoding="utf-8")
    for map_name in yaml.safe_load(maps)["maps"]:
        name = f"dm2/{map_name}-v0"
        if name not in gymnasium.registry:
            gymnasium.register(name, vector_entry_point=ENTRY_POINT, kwargs={"map_name": map_name})
