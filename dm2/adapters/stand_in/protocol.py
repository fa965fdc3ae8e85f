"""Requests of the StarCraft II API (s2clientprotocol), answered from a match.

What SMAC and pysc2 ask is answered; any other request gets an error that names it, as does one that comes at the wrong
time. Orders that the game would refuse get its own ActionResult.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import PurePath
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from dm2 import __version__
from dm2.adapters.smac_units import AGENTS, OPPONENT
from dm2.adapters.stand_in.install import BUILD
from dm2.adapters.stand_in.match import Match
from dm2.backends.protobuf_loader import load_s2clientprotocol
from dm2.battle.scenario import map_data, unit_data

load_s2clientprotocol()

from s2clientprotocol import common_pb2, error_pb2, raw_pb2, sc2api_pb2  # noqa: E402

LEVEL_GROUND = 127  # height 0, of 255
MAX_LOOPS = 100_000  # in a request
STOP, MOVE, ATTACK, HEAL = 4, 16, 23, 386  # abilities
ABILITIES = {STOP: "stop", MOVE: "move", ATTACK: "attack", HEAL: "heal"}
RACES = {"terran": common_pb2.Terran, "zerg": common_pb2.Zerg, "protoss": common_pb2.Protoss}
_NEEDS_MATCH = (
    "game_info",
    "observation",
    "action",
    "step",
    "debug",
    "data",
    "save_replay",
    "restart_game",
    "leave_game",
)


class RefusedError(Exception):
    """A request that is answered by an error: what was found, and what was expected."""


class StandInGame:
    """One game: which match is on, and the answers to requests.

    Attributes:
        status: of sc2api_pb2.Status.
        match: None before a game was created.
    """

    def __init__(self) -> None:
        """Launched, and nothing created."""
        self.status = sc2api_pb2.launched
        self.match: Match | None = None
        self._answers: dict[str, Callable[[Any, Any], None]] = {
            "ping": self._ping,
            "available_maps": self._available_maps,
            "create_game": self._create_game,
            "join_game": self._join_game,
            "game_info": self._game_info,
            "observation": self._observation,
            "action": self._action,
            "step": self._step,
            "debug": self._debug,
            "data": self._data,
            "save_replay": self._save_replay,
            "restart_game": self._restart_game,
            "leave_game": self._leave_game,
            "quit": self._quit,
        }

    @property
    def has_quit(self) -> bool:
        """Whether a client has ended the game."""
        return bool(self.status == sc2api_pb2.quit)

    def answer(self, message: bytes) -> bytes:
        """The response to a request, both serialised."""
        response = sc2api_pb2.Response()
        try:
            request = sc2api_pb2.Request.FromString(message)
        except DecodeError:
            response.error.append(f"found {len(message)} bytes that are no Request of the StarCraft II API")
        else:
            if request.HasField("id"):
                response.id = request.id
            self._respond(request, response)
        response.status = self.status
        return response.SerializeToString()

    def _respond(self, request: Any, response: Any) -> None:
        name = request.WhichOneof("request")
        try:
            if name not in self._answers:
                raise RefusedError(
                    f"found the request {name or 'of no kind'}, expected one of {', '.join(self._answers)}"
                )
            if name in _NEEDS_MATCH and self.status != sc2api_pb2.in_game:
                raise RefusedError(
                    f"found the request {name} while no game is on, expected create_game and join_game first"
                )
            getattr(response, name).SetInParent()
            self._answers[name](getattr(request, name), getattr(response, name))
        except RefusedError as refused:
            if name:
                response.ClearField(name)
            response.error.append(str(refused))

    # --- before and after a match ------------------------------------------------------------------------------------

    def _ping(self, request: Any, response: Any) -> None:
        response.game_version = f"dm2 {__version__}, a stand-in for StarCraft II"
        response.data_build = response.base_build = BUILD

    def _available_maps(self, request: Any, response: Any) -> None:
        response.local_map_paths.extend(f"SMAC_Maps/{name}.SC2Map" for name in map_data().maps)

    def _create_game(self, request: Any, response: Any) -> None:
        name = PurePath(request.local_map.map_path.replace("\\", "/")).stem
        types = [player.type for player in request.player_setup]
        levels = [player.difficulty for player in request.player_setup if player.type == sc2api_pb2.Computer]
        if name not in map_data().maps:
            response.error = response.InvalidMapName
            response.error_details = (
                f"found {request.local_map.map_path!r}, expected one of {', '.join(map_data().maps)}"
            )
        elif types != [sc2api_pb2.Participant, sc2api_pb2.Computer]:
            response.error = response.InvalidPlayerSetup
            response.error_details = f"found players of types {types}, expected a participant and a computer"
        elif levels != [sc2api_pb2.VeryHard]:
            response.error = response.InvalidPlayerSetup
            level = sc2api_pb2.Difficulty.Name(levels[0])
            response.error_details = f"found difficulty {level}, expected VeryHard: the enemies know one way to fight"
        elif request.realtime:
            response.error = response.InvalidPlayerSetup
            response.error_details = "found realtime, expected steps"
        else:
            self.match = Match(name, request.random_seed if request.HasField("random_seed") else None)
            self.status = sc2api_pb2.init_game

    def _join_game(self, request: Any, response: Any) -> None:
        if self.status != sc2api_pb2.init_game:
            raise RefusedError(
                "found the request join_game while no game waits for players, expected create_game first"
            )
        if not request.options.raw:
            response.error = response.FeatureUnsupported
            response.error_details = "found no raw interface among the options, expected it: it is the only one"
            return
        response.player_id = AGENTS
        self.status = sc2api_pb2.in_game

    def _restart_game(self, request: Any, response: Any) -> None:
        self._match.restart()

    def _leave_game(self, request: Any, response: Any) -> None:
        self.match, self.status = None, sc2api_pb2.launched

    def _quit(self, request: Any, response: Any) -> None:
        self.status = sc2api_pb2.quit

    # --- what there is -----------------------------------------------------------------------------------------------

    @property
    def _match(self) -> Match:
        assert self.match is not None  # _NEEDS_MATCH
        return self.match

    def _game_info(self, request: Any, response: Any) -> None:
        match, raw = self._match, response.start_raw
        size, playable = int(match.world.rules[0]["map_size"]), int(match.world.rules[0]["playable_size"])
        response.map_name, response.local_map_path = match.map_name, f"SMAC_Maps/{match.map_name}.SC2Map"
        response.player_info.add(player_id=AGENTS, type=sc2api_pb2.Participant)
        response.player_info.add(player_id=OPPONENT, type=sc2api_pb2.Computer, difficulty=sc2api_pb2.VeryHard)
        response.options.raw = True
        margin = (size - playable) // 2
        raw.map_size.x = raw.map_size.y = size
        raw.playable_area.p0.x = raw.playable_area.p0.y = margin
        raw.playable_area.p1.x = raw.playable_area.p1.y = margin + playable
        walkable = np.packbits(match.world.walkable.T, axis=1).tobytes()  # rows from the south, [y][x]
        for image, bits, data in (
            (raw.pathing_grid, 1, walkable),
            (raw.placement_grid, 1, bytes(len(walkable))),
            (raw.terrain_height, 8, bytes([LEVEL_GROUND]) * size**2),
        ):
            image.bits_per_pixel, image.data = bits, data
            image.size.x = image.size.y = size

    def _observation(self, request: Any, response: Any) -> None:
        seen = response.observation
        seen.game_loop = self._match.loops
        seen.player_common.player_id = AGENTS
        for tag, unit in self._match.units():
            shown = seen.raw_data.units.add(
                display_type=raw_pb2.Visible,
                alliance=unit.alliance,
                tag=tag,
                unit_type=unit.unit_type,
                owner=unit.owner,
                facing=unit.facing % math.tau,
                radius=unit.radius,
                build_progress=1.0,
                health=unit.health,
                health_max=unit.health_max,
                shield=unit.shield,
                shield_max=unit.shield_max,
                energy=unit.energy,
                energy_max=unit.energy_max,
                weapon_cooldown=unit.weapon_cooldown,
            )
            shown.pos.x, shown.pos.y, shown.pos.z = unit.pos

    def _data(self, request: Any, response: Any) -> None:
        if request.ability_id:
            for number, name in ABILITIES.items():
                response.abilities.add(ability_id=number, link_name=name, friendly_name=name, available=True)
        if request.unit_type_id:
            known = zip(self._match.types.numbers.tolist(), self._match.types.names, strict=True)
            for number, name in sorted(set(known)):
                unit = unit_data().units[name]
                response.units.add(
                    unit_id=number,
                    name=name,
                    available=True,
                    race=RACES[unit.race],
                    movement_speed=unit.speed,
                    armor=unit.armour,
                )

    def _save_replay(self, request: Any, response: Any) -> None:
        match = self._match
        if match.unrecorded:
            raise RefusedError(
                f"found the request save_replay of a battle with {match.unrecorded}, expected one that was played as"
                " SMAC plays: no recording holds anything else"
            )
        if not match.is_over:
            raise RefusedError("found the request save_replay before the battle's end, expected it then")
        response.data = match.sequence.recording(match.spec).model_dump_json().encode()

    # --- what is done ------------------------------------------------------------------------------------------------

    def _action(self, request: Any, response: Any) -> None:
        response.result.extend(map(self._order, request.actions))

    def _order(self, action: Any) -> int:
        """Give one order to the units that it names; the game's word on it."""
        if not action.HasField("action_raw") or not action.action_raw.HasField("unit_command"):
            return error_pb2.NotSupported
        command = action.action_raw.unit_command
        if command.queue_command or command.ability_id not in ABILITIES:
            return error_pb2.NotSupported
        results = [self._order_unit(tag, command) for tag in command.unit_tags]
        return next((result for result in results if result != error_pb2.Success), error_pb2.Success)

    def _order_unit(self, tag: int, command: Any) -> int:
        match, ability = self._match, command.ability_id
        unit = match.living(tag)
        if unit is None:
            return error_pb2.YouCantIssueCommandsToThatUnit
        if unit >= match.spec.n_agents:
            return error_pb2.YouCantControlThatUnit
        if ability == STOP:
            match.order_stop(unit)
            return error_pb2.Success
        if ability == MOVE:
            point = command.target_world_space_pos
            if not command.HasField("target_world_space_pos") or not (
                math.isfinite(point.x) and math.isfinite(point.y)
            ):
                return error_pb2.MustTargetVisibleLocation
            match.order_move(unit, point.x, point.y)
            return error_pb2.Success
        target = match.living(command.target_unit_tag) if command.HasField("target_unit_tag") else None
        if target is None:
            return error_pb2.MustTargetUnit
        if match.can_heal(unit) != (ability == HEAL):
            return error_pb2.NotSupported
        if (target < match.spec.n_agents) != (ability == HEAL):
            return error_pb2.RequiresHealTarget if ability == HEAL else error_pb2.MustTargetEnemyUnits
        if ability == HEAL and match.can_heal(target):
            return error_pb2.RequiresHealTarget
        match.order_target(unit, target)
        return error_pb2.Success

    def _step(self, request: Any, response: Any) -> None:
        count = request.count if request.HasField("count") else 1
        if not 1 <= count <= MAX_LOOPS:
            raise RefusedError(f"step: found count {count}, expected 1 to {MAX_LOOPS} game loops")
        self._match.pass_loops(count)
        response.simulation_loop = self._match.loops

    def _debug(self, request: Any, response: Any) -> None:
        kinds = [command.WhichOneof("command") for command in request.debug]
        if unknown := [kind for kind in kinds if kind != "kill_unit"]:
            raise RefusedError(f"debug: found the command {unknown[0]}, expected kill_unit alone")
        for command in request.debug:
            self._match.kill(list(command.kill_unit.tag))
