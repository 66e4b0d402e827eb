"""The floor: picows passes each frame to both participants as it came. Nothing is parsed, stored or published."""

import os

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

USER = b'{"type":"Joined","args":{"participant":"User"}}'
SUPPORT = b'{"type":"Joined","args":{"participant":"Support","supportId":"%032x"}}' % 1

chats: dict[bytes, list[WSTransport]] = {}


class Participant(WSListener):
    """A connection."""

    def __init__(self, request: WSUpgradeRequest) -> None:
        super().__init__()
        self.members = chats.setdefault(request.path, [])

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Enter the chat."""
        self.members.append(transport)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Pass a message on; answer a Join."""
        if frame.msg_type == WSMsgType.CLOSE:
            transport.disconnect()
            return
        data = frame.get_payload_as_bytes()
        if data.startswith(b'{"type":"Join"'):
            transport.send(WSMsgType.TEXT, USER if b'"from":"User"' in data else SUPPORT)
            return
        for member in self.members:
            member.send(WSMsgType.TEXT, data)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Leave the chat."""
        self.members.remove(transport)


async def main() -> None:
    """Serve until the process is ended."""
    server = await ws_create_server(Participant, "127.0.0.1", int(os.environ["PORT"]), backlog=2048)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
