"""The stand-in for StarCraft II, asked by pysc2's own controller and by clients that mean no good."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("pysc2")
pytest.importorskip("s2clientprotocol")
pytest.importorskip("websocket")
pytest.importorskip("websockets")

from dm2.adapters.smac import StarCraft2Env
from dm2.adapters.smac_units import SmacUnit
from dm2.adapters.stand_in.install import lay_out
from dm2.adapters.stand_in.match import Match
from dm2.backends.installation import game, is_stand_in
from dm2.backends.protobuf_loader import load_s2clientprotocol
from dm2.battle.scenario import map_data
from dm2.cli import app
from dm2.core.errors import UserError
from dm2.viewer.recording import Recording, replay

STOP, MOVE, ATTACK, HEAL = 4, 16, 23, 386
SEED = 5


def messages(name: str) -> Any:
    load_s2clientprotocol()
    return importlib.import_module(f"s2clientprotocol.{name}_pb2")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("stand_in") / "StarCraftII"
    done = CliRunner().invoke(app, ["stand-in", "install", str(place)])
    assert done.exit_code == 0 and done.output == f"export SC2PATH={place.resolve()}\n"
    return place


@pytest.fixture(scope="module")
def process(folder: Path) -> Iterator[Any]:
    """A game that pysc2 has started, as it starts StarCraft II."""
    load_s2clientprotocol()
    flags = importlib.import_module("absl.flags").FLAGS
    if not flags.is_parsed():
        flags(["tests"])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SC2PATH", str(folder))
        patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
        run_config = importlib.import_module("pysc2.run_configs").get()
        started = run_config.start(want_rgb=False)
        yield started
        pid = started.pid
        started.close()
        assert not Path(f"/proc/{pid}").exists()


def join(controller: Any, map_name: str, **changes: Any) -> None:
    sc = messages("sc2api")
    path = f"SMAC_Maps/{map_name}.SC2Map"
    options = {"realtime": False, "random_seed": SEED} | changes
    difficulty = options.pop("difficulty", sc.VeryHard)
    create = sc.RequestCreateGame(local_map=sc.LocalMap(map_path=path, map_data=b"a map"), **options)
    create.player_setup.add(type=sc.Participant)
    create.player_setup.add(type=sc.Computer, difficulty=difficulty)
    controller.create_game(create)
    controller.join_game(sc.RequestJoinGame(options=sc.InterfaceOptions(raw=True, score=False)))


def command(ability: int, *tags: int, **target: Any) -> Any:
    sc, raw = messages("sc2api"), messages("raw")
    order = raw.ActionRawUnitCommand(ability_id=ability, unit_tags=tags, **target)
    return sc.Action(action_raw=raw.ActionRaw(unit_command=order))


def point(x: float, y: float) -> Any:
    return messages("common").Point2D(x=x, y=y)


class Team:
    """A team that talks to the game as SMAC does: numbers units once, orders by them."""

    def __init__(self, controller: Any) -> None:
        self.controller = controller

    def look(self) -> None:
        """Number the units of a battle that begins."""
        seen = self.controller.observe().observation.raw_data.units
        agents = sorted((unit for unit in seen if unit.owner == 1), key=lambda u: (u.unit_type, u.pos.x, u.pos.y))
        self.units = agents + [unit for unit in seen if unit.owner == 2]
        self.tags = [unit.tag for unit in self.units]
        self.n_agents = len(agents)

    def update(self) -> dict[int, Any]:
        """Who lives, by number."""
        seen = {unit.tag: unit for unit in self.controller.observe().observation.raw_data.units}
        assert set(seen) <= set(self.tags)
        return {number: seen[tag] for number, tag in enumerate(self.tags) if tag in seen}

    def order(self, agent: int, action: int, medivac: int) -> Any:
        unit = self.units[agent]
        x, y = unit.pos.x, unit.pos.y
        places = {2: (x, y + 2), 3: (x, y - 2), 4: (x + 2, y), 5: (x - 2, y)}
        if action == 1:
            return command(STOP, unit.tag)
        if action in places:
            return command(MOVE, unit.tag, target_world_space_pos=point(*places[action]))
        if unit.unit_type == medivac:
            return command(HEAL, unit.tag, target_unit_tag=self.tags[action - 6])
        return command(ATTACK, unit.tag, target_unit_tag=self.tags[self.n_agents + action - 6])

    def step(self, actions: list[int], medivac: int) -> None:
        """Orders for the living, and eight loops."""
        sc = messages("sc2api")
        orders = [self.order(agent, action, medivac) for agent, action in enumerate(actions) if action]
        response = self.controller.actions(sc.RequestAction(actions=orders))
        assert list(response.result) == [messages("error").Success] * len(orders)
        self.controller.step(8)
        seen = self.update()
        self.units = [seen.get(number, unit) for number, unit in enumerate(self.units)]

    def kill_all(self) -> None:
        """As SMAC's reset does."""
        debug = messages("debug")
        self.controller.debug([debug.DebugCommand(kill_unit=debug.DebugKillUnit(tag=self.tags))])
        self.controller.step(2)


FIELDS = ("health", "health_max", "shield", "shield_max", "energy", "weapon_cooldown", "radius", "unit_type", "owner")


def check_equal(ours: dict[int, SmacUnit], theirs: dict[int, Any]) -> None:
    assert set(theirs) == {number for number, unit in ours.items() if unit.health > 0}
    for number, unit in theirs.items():
        for field in FIELDS:
            assert getattr(unit, field) == pytest.approx(getattr(ours[number], field), rel=1e-6, abs=1e-6)
        assert (unit.pos.x, unit.pos.y) == pytest.approx(ours[number].pos[:2], abs=1e-6)


@pytest.mark.parametrize("map_name", sorted(map_data().maps))
def test_battles_go_as_in_our_own_interface(process: Any, map_name: str) -> None:
    env, team = StarCraft2Env(map_name, seed=SEED), Team(process.controller)
    join(team.controller, map_name)
    generator = np.random.default_rng(0)
    for battle in range(2):
        env.reset()
        if battle:
            team.kill_all()
        team.look()
        for _ in range(40):
            units = env.agents | {env.n_agents + number: unit for number, unit in env.enemies.items()}
            check_equal(units, team.update())
            masks = np.array(env.get_avail_actions())
            wishes = masks * (1 + generator.random(masks.shape) + 0.5 * (np.arange(env.n_actions) == 4))
            actions = wishes.argmax(axis=1).tolist()
            _, terminated, _ = env.step(actions)
            team.step(actions, env.medivac_id)
            if terminated:
                break


def test_the_map_is_told(process: Any) -> None:
    join(process.controller, "2c_vs_64zg")
    info = process.controller.game_info()
    raw = info.start_raw
    assert (info.map_name, raw.map_size.x, raw.map_size.y) == ("2c_vs_64zg", 32, 32)
    env = StarCraft2Env("2c_vs_64zg")
    area = raw.playable_area
    assert (area.p1.x - area.p0.x, area.p1.y - area.p0.y) == (env.max_distance_x, env.max_distance_y)
    rows = np.unpackbits(np.frombuffer(raw.pathing_grid.data, dtype=np.uint8)).reshape(32, 32)
    assert np.array_equal(rows.T.astype(bool), env.pathing_grid) and not rows.all()
    assert set(raw.terrain_height.data) == {127} and len(raw.terrain_height.data) == 32 * 32
    data = process.controller.data_raw()
    assert {unit.name for unit in data.units} == {"Colossus", "Zergling"}
    assert {ability.ability_id for ability in data.abilities} == {STOP, MOVE, ATTACK, HEAL}
    assert "SMAC_Maps/3m.SC2Map" in process.controller.available_maps().local_map_paths
    assert "stand-in for StarCraft II" in process.controller.ping().game_version


def test_a_battle_played_as_smac_plays_is_a_recording(process: Any) -> None:
    env, team = StarCraft2Env("MMM", seed=SEED), Team(process.controller)
    join(team.controller, "MMM")
    generator = np.random.default_rng(1)
    for battle in range(2):
        env.reset()
        if battle:
            team.kill_all()
        team.look()
        terminated = False
        while not terminated:
            masks = np.array(env.get_avail_actions())
            wishes = masks * (1 + generator.random(masks.shape) + (np.arange(env.n_actions) >= 6))
            actions = wishes.argmax(axis=1).tolist()
            _, terminated, _ = env.step(actions)
            team.step(actions, env.medivac_id)
        if not battle:
            debug = messages("debug")
            team.controller.debug([debug.DebugCommand(kill_unit=debug.DebugKillUnit(tag=team.tags))])
        (shown,) = replay(Recording.model_validate_json(team.controller.save_replay()))
        assert shown.episode == env._battles.number
        expected = [unit.health for unit in (*env.agents.values(), *env.enemies.values())]
        assert shown.health[-1].tolist() == expected and sum(expected) > 0


def played_to_the_end(controller: Any, steps: int = 60, count: int = 8, **first: Any) -> None:
    """A battle on 3m, in which all but the first step are of agents that stop."""
    join(controller, "3m")
    team = Team(controller)
    team.look()
    for step in range(steps):
        seen = team.update()
        alive = [tag for number, tag in enumerate(team.tags[:3]) if number in seen]
        orders = [command(STOP, *alive)]
        if not step and "agent" in first:
            orders.append(first["order"](team.tags[first["agent"]], team.tags[3]))
        controller.actions(messages("sc2api").RequestAction(actions=orders if step or not first.get("idle") else []))
        controller.step(8 if step else count)
        if not alive:
            break


@pytest.mark.parametrize(
    ("keys", "found"),
    [
        ({"steps": 3}, "before the battle's end, expected it then"),
        ({"count": 4}, "of a battle with a step of 4 game loops, expected one that was played as SMAC plays"),
        ({"idle": True}, "of a battle with no order for agent 0, "),
        (
            {"agent": 1, "order": lambda tag, enemy: command(MOVE, tag, target_world_space_pos=point(10.5, 16.0))},
            "of a battle with a move of agent 1 to another point than those 2 away on an axis, ",
        ),
        (
            {"agent": 2, "order": lambda tag, enemy: command(ATTACK, tag, target_unit_tag=enemy)},
            "of a battle with an order that SMAC does not offer agent 2, ",
        ),
        ({}, "of a battle with a step after its end, "),
    ],
)
def test_other_battles_are_none(process: Any, keys: dict[str, Any], found: str) -> None:
    protocol = importlib.import_module("pysc2.lib.protocol")
    played_to_the_end(process.controller, **keys)
    with pytest.raises(protocol.ProtocolError, match=f"found the request save_replay {found}"):
        process.controller.save_replay()


def test_a_battle_whose_units_were_taken_away_is_none(process: Any) -> None:
    protocol = importlib.import_module("pysc2.lib.protocol")
    played_to_the_end(process.controller, steps=3)
    team = Team(process.controller)
    team.look()
    debug = messages("debug")
    process.controller.debug([debug.DebugCommand(kill_unit=debug.DebugKillUnit(tag=team.tags[:1]))])
    with pytest.raises(protocol.ProtocolError, match="of a battle with units killed by debug, expected"):
        process.controller.save_replay()


def test_orders_that_make_no_sense_are_answered_by_the_games_codes(process: Any) -> None:
    error, sc = messages("error"), messages("sc2api")
    join(process.controller, "MMM")
    team = Team(process.controller)
    team.look()
    medivac, (friend, enemy) = team.tags[9], (team.tags[0], team.tags[10])
    at = {"target_world_space_pos": point(10, 10)}
    cases = [
        (command(STOP, 10**15), error.YouCantIssueCommandsToThatUnit),
        (command(STOP, enemy), error.YouCantControlThatUnit),
        (command(STOP, friend, enemy), error.YouCantControlThatUnit),
        (command(MOVE, friend), error.MustTargetVisibleLocation),
        (command(MOVE, friend, target_world_space_pos=point(np.nan, 1)), error.MustTargetVisibleLocation),
        (command(MOVE, friend, queue_command=True, **at), error.NotSupported),
        (command(77, friend), error.NotSupported),
        (command(ATTACK, friend), error.MustTargetUnit),
        (command(ATTACK, friend, target_unit_tag=10**15), error.MustTargetUnit),
        (command(ATTACK, friend, target_unit_tag=team.tags[1]), error.MustTargetEnemyUnits),
        (command(ATTACK, medivac, target_unit_tag=enemy), error.NotSupported),
        (command(HEAL, friend, target_unit_tag=team.tags[1]), error.NotSupported),
        (command(HEAL, medivac, target_unit_tag=enemy), error.RequiresHealTarget),
        (command(HEAL, medivac, target_unit_tag=medivac), error.RequiresHealTarget),
        (command(MOVE, friend, **at), error.Success),
        (sc.Action(action_chat=sc.ActionChat(message="hello")), error.NotSupported),
    ]
    response = team.controller.actions(sc.RequestAction(actions=[action for action, _ in cases]))
    assert list(response.result) == [code for _, code in cases]
    team.kill_all()
    dead = team.controller.actions(sc.RequestAction(actions=[command(STOP, friend)]))
    assert list(dead.result) == [error.YouCantIssueCommandsToThatUnit]
    assert len(team.controller.observe().observation.raw_data.units) == 20


def test_any_point_and_any_number_of_loops() -> None:
    by_steps, by_loops = Match("3m", 1), Match("3m", 1)
    for match in (by_steps, by_loops):
        match.order_move(0, 12.0, 13.0)
        match.order_stop(1)
    by_steps.pass_loops(16)
    for count in (1, 2, 3, 5, 5):
        by_loops.pass_loops(count)
    assert by_loops.units() == by_steps.units()
    assert by_steps.loops == by_loops.loops == 16
    by_steps.pass_loops(48)
    place = dict(by_steps.units())[by_steps.tag(0)].pos
    assert (place.x, place.y) == pytest.approx((12.0, 13.0), abs=0.01)


def test_requests_at_the_wrong_time_or_of_no_kind_are_errors_that_name_them(process: Any) -> None:
    protocol = importlib.import_module("pysc2.lib.protocol")
    remote = importlib.import_module("pysc2.lib.remote_controller")
    sc, debug = messages("sc2api"), messages("debug")
    controller = process.controller
    join(controller, "3m")
    with pytest.raises(protocol.ProtocolError, match="found the request query, expected one of ping, "):
        controller.query(messages("query").RequestQuery())
    with pytest.raises(protocol.ProtocolError, match="step: found count 0, expected 1 to 100000"):
        controller.step(0)
    with pytest.raises(protocol.ProtocolError, match="debug: found the command end_game, expected kill_unit alone"):
        controller.debug([debug.DebugCommand(end_game=debug.DebugEndGame())])
    with pytest.raises(protocol.ProtocolError, match="save_replay before the battle's end, expected it then"):
        controller.save_replay()
    controller.step(8)
    before = controller.observe().observation
    controller.restart()
    first = controller.observe().observation
    assert before.raw_data != first.raw_data and first.game_loop == 8
    for changes, message in (
        ({"difficulty": sc.Easy}, "found difficulty Easy, expected VeryHard"),
        ({"realtime": True}, "found realtime, expected steps"),
    ):
        with pytest.raises(remote.RequestError, match=message):
            join(controller, "3m", **changes)
    with pytest.raises(remote.RequestError, match=r"found 'SMAC_Maps/3mm\.SC2Map', expected one of 3m, "):
        join(controller, "3mm")
    controller.leave()
    with pytest.raises(protocol.ProtocolError, match="`observe` called while in state"):
        controller.observe()  # pysc2 itself knows that no game is on
    assert controller._client._sock.connected


# --- clients that mean no good ---------------------------------------------------------------------------------------


@pytest.fixture
def served() -> Iterator[SimpleNamespace]:
    """The program alone, and its port."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "dm2.adapters.stand_in.server", "-listen", "127.0.0.1", "-port", str(port)]
    program = subprocess.Popen(
        [*command, "-dataDir", "x", "-headlessNoRender"], env=environment, stderr=subprocess.PIPE
    )
    yield SimpleNamespace(port=port, program=program)
    program.kill()
    program.communicate()


def connect(port: int, path: str = "/sc2api") -> Any:
    websocket = importlib.import_module("websocket")
    end = time.monotonic() + 30
    while True:
        try:
            return websocket.create_connection(f"ws://127.0.0.1:{port}{path}", timeout=30)
        except ConnectionRefusedError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def ask(connection: Any, **request: Any) -> Any:
    sc = messages("sc2api")
    connection.send_binary(sc.Request(**request).SerializeToString())
    return sc.Response.FromString(connection.recv())


def is_well(served: SimpleNamespace) -> None:
    connection = connect(served.port)
    answer = ask(connection, ping=messages("sc2api").RequestPing(), id=7)
    assert answer.id == 7 and answer.ping.base_build == 75689 and not answer.error
    connection.close()
    assert served.program.poll() is None


def test_what_is_no_request_is_answered_by_an_error(served: SimpleNamespace) -> None:
    sc = messages("sc2api")
    connection = connect(served.port)
    for message in (b"\xff" * 50, b"\x0a"):
        connection.send_binary(message)
        assert "no Request of the StarCraft II API" in sc.Response.FromString(connection.recv()).error[0]
    assert "found the request of no kind" in ask(connection).error[0]
    assert "found the request step while no game is on" in ask(connection, step=sc.RequestStep(count=8)).error[0]
    assert "no game waits for players" in ask(connection, join_game=sc.RequestJoinGame()).error[0]
    answer = ask(connection, create_game=sc.RequestCreateGame(battlenet_map_name="Everest"))
    assert answer.create_game.error == sc.ResponseCreateGame.InvalidMapName and answer.status == sc.launched
    connection.close()
    is_well(served)


def test_broken_frames_huge_messages_and_half_requests_end_one_connection_alone(served: SimpleNamespace) -> None:
    websocket = importlib.import_module("websocket")
    huge = connect(served.port)
    with pytest.raises((websocket.WebSocketException, OSError)):
        huge.send_binary(bytes(5 * 2**20))
        huge.recv()
        huge.recv()
    is_well(served)
    for garbage in (b"\x83\x80abcd", b"\xff" * 64, b"\x02\x05hello"):  # reserved opcode, reserved bits, no mask
        broken = connect(served.port)
        broken.sock.sendall(garbage)
        broken.sock.settimeout(10)
        while broken.sock.recv(1000):
            pass
        is_well(served)
    with socket.create_connection(("127.0.0.1", served.port)) as no_websocket:
        no_websocket.sendall(b"HELO there\r\n\r\n")
        assert no_websocket.recv(1000) == b""  # hung up
    is_well(served)
    with pytest.raises(websocket.WebSocketBadStatusException, match="404"):
        connect(served.port, "/elsewhere")
    is_well(served)


def test_a_message_in_pieces_is_one_message(served: SimpleNamespace) -> None:
    websocket, sc = importlib.import_module("websocket"), messages("sc2api")
    connection, request = connect(served.port), sc.Request(ping=sc.RequestPing(), id=3).SerializeToString()
    frames = [(request[:1], websocket.ABNF.OPCODE_BINARY, 0), (request[1:], websocket.ABNF.OPCODE_CONT, 1)]
    for data, opcode, fin in frames:
        connection.send_frame(websocket.ABNF.create_frame(data, opcode, fin))
    assert sc.Response.FromString(connection.recv()).id == 3
    connection.close()


def test_a_second_client_is_turned_away_and_may_come_later(served: SimpleNamespace) -> None:
    first = connect(served.port)
    with pytest.raises((importlib.import_module("websocket").WebSocketException, OSError)):
        connect(served.port)
    assert not ask(first, ping=messages("sc2api").RequestPing()).error
    first.close()
    is_well(served)


def test_it_ends_on_request_and_on_sigterm(served: SimpleNamespace) -> None:
    connection = connect(served.port)
    assert ask(connection, quit=messages("sc2api").RequestQuit()).status == messages("sc2api").quit
    assert served.program.wait(10) == 0
    assert served.program.stderr.read() == b""


def test_a_client_that_asks_and_leaves_does_no_harm(served: SimpleNamespace) -> None:
    sc = messages("sc2api")
    connection = connect(served.port)
    connection.send_binary(sc.Request(ping=sc.RequestPing()).SerializeToString())
    connection.close()
    is_well(served)
    served.program.send_signal(signal.SIGTERM)
    assert served.program.wait(10) == -signal.SIGTERM


def test_it_listens_to_this_machine_alone() -> None:
    command = [sys.executable, "-m", "dm2.adapters.stand_in.server", "-listen", "0.0.0.0", "-port", "1"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 1 and "found 0.0.0.0, expected an address of this machine alone" in done.stderr


def test_it_ends_with_the_program_that_started_it(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    command = [sys.executable, "-m", "dm2.adapters.stand_in.server", "-port", str(port)]
    starter = f"import subprocess; print(subprocess.Popen({command!r}).pid, flush=True); input()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", starter], env=environment, text=True, **pipes) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        connect(port).close()
        parent.kill()
    commandline, end = Path(f"/proc/{pid}/cmdline"), time.monotonic() + 20
    while commandline.exists() and commandline.read_bytes():  # a zombie's is empty
        assert time.monotonic() < end
        time.sleep(0.1)


def test_a_client_that_needs_protobufs_slow_backend_does_not_slow_the_program(folder: Path) -> None:
    name = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    environment = os.environ | {name: "python", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    (program,) = folder.glob("Versions/*/SC2_x64")
    with subprocess.Popen([program, "-port", str(port)], env=environment) as process:
        connect(port).close()
        given = Path(f"/proc/{process.pid}/environ").read_bytes()
        process.kill()
    assert name.encode() not in given


def test_it_is_laid_out_anew_but_never_over_something_else(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SC2PATH", str(folder))
    lay_out(folder)
    assert is_stand_in() and "dm2's stand-in" in game().text and "not StarCraft II" in game().text
    assert len(list((folder / "Maps" / "SMAC_Maps").glob("*.SC2Map"))) == 23
    other = folder.parent / "Blizzard"
    (other / "Versions").mkdir(parents=True)
    with pytest.raises(UserError, match="found files that are not the stand-in's, expected an empty folder or none"):
        lay_out(other)
    monkeypatch.setattr("dm2.adapters.stand_in.install.PACKAGES", ("websockets.nowhere",))
    with pytest.raises(UserError, match=r"found no package websockets\.nowhere, .*pip install .dm2\[stand-in"):
        lay_out(folder)
