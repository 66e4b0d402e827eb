"""The logger of this package. What it writes holds no names, ids, tokens or messages."""

import logging

log = logging.getLogger("live_support_client")

websocket_log = log.getChild("websocket")
"""For the library that we build on, whose lines of the level DEBUG would show whole frames and headers."""
websocket_log.setLevel(logging.INFO)
