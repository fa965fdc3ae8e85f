"""A package named smac that plays through pysc2 as oxwhirl/smac does, as small as can be; put its folder on sys.path.

Observations are health, shields and places of all units, not SMAC's own: what is tested is the way to the game.
"""

from __future__ import annotations

from pathlib import Path

SMAC = """
import numpy as np
from absl import flags
from pysc2 import run_configs
from pysc2.lib import protocol
from s2clientprotocol import common_pb2, debug_pb2, raw_pb2, sc2api_pb2

from dm2.adapters.smac_maps import get_map_params

if not flags.FLAGS.is_parsed():
    flags.FLAGS(["smac"])
MOVES = {2: (0, 2), 3: (0, -2), 4: (2, 0), 5: (-2, 0)}


class StarCraft2Env:
    def __init__(self, map_name, step_mul=8, difficulty="7", seed=None, continuing_episode=False, game_version=None):
        self.map_name, self.step_mul, self._seed, self.version = map_name, step_mul, seed, game_version
        self.parameters = get_map_params(map_name)
        self.n_agents, self.n_enemies = self.parameters["n_agents"], self.parameters["n_enemies"]
        self.difficulty, self.process, self.episodes = int(difficulty), None, 0

    def get_env_info(self):
        n_units = self.n_agents + self.n_enemies
        sizes = dict(n_actions=6 + self.n_enemies, obs_shape=4 * n_units, state_shape=4 * n_units)
        return dict(n_agents=self.n_agents, episode_limit=self.parameters["limit"], **sizes)

    def launch(self):
        config = run_configs.get(version=self.version)
        self.process = config.start(want_rgb=False)
        self.controller = self.process.controller
        path = f"SMAC_Maps/{self.map_name}.SC2Map"
        game_map = sc2api_pb2.LocalMap(map_path=path, map_data=config.map_data(path))
        create = sc2api_pb2.RequestCreateGame(local_map=game_map, random_seed=self._seed)
        create.player_setup.add(type=sc2api_pb2.Participant)
        create.player_setup.add(type=sc2api_pb2.Computer, difficulty=self.difficulty)
        self.controller.create_game(create)
        options = sc2api_pb2.InterfaceOptions(raw=True, score=False)
        self.controller.join_game(sc2api_pb2.RequestJoinGame(options=options))

    def reset(self):
        if self.episodes == 0:
            self.launch()
        else:
            kill = debug_pb2.DebugKillUnit(tag=[unit.tag for unit in self.units])
            self.controller.debug([debug_pb2.DebugCommand(kill_unit=kill)])
            self.controller.step(2)
        seen = self.controller.observe().observation.raw_data.units
        agents = sorted((u for u in seen if u.owner == 1), key=lambda u: (u.unit_type, u.pos.x, u.pos.y))
        self.units, self.steps = agents + [u for u in seen if u.owner == 2], 0

    def step(self, actions):
        orders = []
        for unit, action in zip(self.units, actions):
            order = raw_pb2.ActionRawUnitCommand(unit_tags=[unit.tag], ability_id=4 if action == 1 else 16)
            if action in MOVES:
                order.target_world_space_pos.x = unit.pos.x + MOVES[action][0]
                order.target_world_space_pos.y = unit.pos.y + MOVES[action][1]
            elif action >= 6:
                order.ability_id, order.target_unit_tag = 23, self.units[self.n_agents + action - 6].tag
            if action:
                orders.append(sc2api_pb2.Action(action_raw=raw_pb2.ActionRaw(unit_command=order)))
        try:
            self.controller.actions(sc2api_pb2.RequestAction(actions=orders))
            self.controller.step(self.step_mul)
            seen = {u.tag: u for u in self.controller.observe().observation.raw_data.units}
        except (protocol.ProtocolError, protocol.ConnectionError):
            self.process.close()
            self.launch()
            return 0, True, {}
        before = self.vitality()
        for number, unit in enumerate(self.units):
            if unit.tag in seen:
                self.units[number] = seen[unit.tag]
            else:
                unit.health = unit.shield = 0
        self.steps += 1
        health = [unit.health for unit in self.units]
        dead = [health[: self.n_agents].count(0), health[self.n_agents :].count(0)]
        won = dead[1] == self.n_enemies and dead[0] < self.n_agents
        info = dict(battle_won=won, dead_allies=dead[0], dead_enemies=dead[1])
        ended = dead[0] == self.n_agents or dead[1] == self.n_enemies
        if not ended and self.steps >= self.parameters["limit"]:
            ended = info["episode_limit"] = True
        self.episodes += ended
        return before - self.vitality(), ended, info

    def vitality(self):
        return sum(unit.health + unit.shield for unit in self.units[self.n_agents :])

    def get_state(self):
        return np.array([[unit.health, unit.shield, unit.pos.x, unit.pos.y] for unit in self.units]).ravel()

    def get_obs(self):
        return [self.get_state() * (unit.health > 0) for unit in self.units[: self.n_agents]]

    def get_avail_actions(self):
        rows = []
        for unit in self.units[: self.n_agents]:
            enemies = self.units[self.n_agents :]
            near = [e.health > 0 and np.hypot(e.pos.x - unit.pos.x, e.pos.y - unit.pos.y) <= 6 for e in enemies]
            alive = unit.health > 0
            rows.append([not alive, alive, alive, alive, alive, alive, *(alive and one for one in near)])
        return rows

    def close(self):
        if self.process is not None:
            self.process.close()
"""


def install(root: Path) -> Path:
    """Write the package; returns the folder for sys.path."""
    package = root / "smac" / "env" / "starcraft2"
    package.mkdir(parents=True)
    (root / "smac" / "__init__.py").touch()
    (root / "smac" / "env" / "__init__.py").write_text("from smac.env.starcraft2 import StarCraft2Env\n")
    (package / "__init__.py").write_text(SMAC)
    return root
