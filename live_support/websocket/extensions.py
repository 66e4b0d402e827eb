"""The keys of the scope's `extensions` by which our servers offer more than ASGI."""

from typing import Final

DIRECT: Final = "live_support.direct"
"""Takes the connection out of ASGI: called with a `Receiver` right after the handshake, it returns a `Transport`."""

ABORT: Final = "live_support.abort"
"""Cuts off a client that does not read."""

SEND_PART: Final = "live_support.send_part"
"""Sends a text message in several frames; ASGI itself has no message for that."""
