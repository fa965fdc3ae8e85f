"""The program in the game's place: `SC2_x64 -listen 127.0.0.1 -port N`, a websocket at /sc2api for one client.

The port is open before anything heavy is imported, so that pysc2, which tries once a second, connects at its second
try. A second client is turned away while the first is there; a client that leaves may come back. The program ends on
request, on SIGTERM, and with the program that started it.
"""

from __future__ import annotations

import argparse
import ipaddress
import os
import selectors
import socket
import sys
from http import HTTPStatus
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dm2.adapters.stand_in.protocol import StandInGame

PATH = "/sc2api"
MAX_MESSAGE = 4 * 2**20  # bytes
LOOK_ROUND_SECONDS = 2.0
BUFFER = 2**16


def main() -> None:
    """Serve until a client says quit."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("-listen", default="127.0.0.1")
    parser.add_argument("-port", type=int, required=True)
    options, _ = parser.parse_known_args()  # the game has more: of folders, windows, -headlessNoRender
    if not ipaddress.ip_address(options.listen).is_loopback:
        sys.exit(f"-listen: found {options.listen}, expected an address of this machine alone, such as 127.0.0.1")
    family = socket.AF_INET6 if ":" in options.listen else socket.AF_INET
    with socket.create_server((options.listen, options.port), family=family, backlog=4) as door:
        from dm2.adapters.stand_in.protocol import StandInGame

        serve(door, StandInGame())


def serve(door: socket.socket, game: StandInGame) -> None:
    """Answer one client after the other until one says quit or the parent is gone."""
    parent = os.getppid()
    with selectors.DefaultSelector() as selector:
        selector.register(door, selectors.EVENT_READ)
        client: Client | None = None
        while os.getppid() == parent:
            for key, _ in selector.select(LOOK_ROUND_SECONDS):
                if key.fileobj is door:
                    connection, _ = door.accept()
                    if client is not None:
                        connection.close()
                        continue
                    client = Client(connection, game)
                    selector.register(connection, selectors.EVENT_READ)
                elif client is not None and not client.listen():
                    selector.unregister(client.connection)
                    client.connection.close()
                    client = None
            if game.has_quit:
                return


class Client:
    """A websocket connection: requests in, responses out."""

    def __init__(self, connection: socket.socket, game: StandInGame) -> None:
        """Nothing is read yet."""
        from websockets.server import ServerProtocol

        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection, self._game = connection, game
        self._protocol = ServerProtocol(max_size=MAX_MESSAGE)
        self._message = b""

    def listen(self) -> bool:
        """Read what there is and answer it; False once the connection is over."""
        from websockets.frames import Frame

        try:
            data = self.connection.recv(BUFFER)
            if data:
                self._protocol.receive_data(data)
            else:
                self._protocol.receive_eof()
            for event in self._protocol.events_received():
                if isinstance(event, Frame):
                    self._take(event)
                else:
                    self._greet(event)
            return self._send()
        except OSError:  # the client is gone
            return False

    def _greet(self, request: object) -> None:
        """The handshake."""
        from websockets.http11 import Request

        assert isinstance(request, Request)
        if request.path == PATH:
            response = self._protocol.accept(request)
        else:
            response = self._protocol.reject(HTTPStatus.NOT_FOUND, f"found {request.path}, expected {PATH}\n")
        self._protocol.send_response(response)

    def _take(self, frame: object) -> None:
        """One frame; pysc2 sends requests as text."""
        from websockets.frames import Frame, Opcode
        from websockets.protocol import State

        assert isinstance(frame, Frame)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY, Opcode.CONT):
            self._message += bytes(frame.data)
            if frame.fin:
                message, self._message = self._message, b""
                response = self._game.answer(message)
                if self._protocol.state is State.OPEN:  # else the client asked and left
                    self._protocol.send_binary(response)

    def _send(self) -> bool:
        for data in self._protocol.data_to_send():
            if not data:  # the end of what there is to say
                return False
            self.connection.sendall(data)
        return True


if __name__ == "__main__":
    main()
