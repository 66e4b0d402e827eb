"""State: the states of a connection."""

from enum import IntEnum


class State(IntEnum):
    """The state of a connection, which only advances. From `REFUSED` on no new frame is sent."""

    CONNECTING = 0
    OPEN = 1
    DRAINING = 2
    """The service stops: frames are still sent, but no more are accepted."""
    REFUSED = 3
    """Closed before it was open: the close frame is sent once it is."""
    CLOSING = 4
    """The close frame follows when the outbox is empty."""
    CLOSE_SENT = 5
    """By us or by the transport."""
    CLOSED = 6


# Each frame compares states several times, and looking up a member in its enum takes longer than the comparison.
CONNECTING, OPEN, DRAINING, REFUSED, CLOSING, CLOSE_SENT, CLOSED = State
