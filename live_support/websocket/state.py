"""State: how far a connection is."""

from enum import IntEnum


class State(IntEnum):
    """How far a connection is. It only goes on to later ones; from `REFUSED` on nothing new is sent."""

    CONNECTING = 0
    OPEN = 1
    DRAINING = 2
    """The service stops: sends go on, but no more frames are taken."""
    REFUSED = 3
    """Closed before it was open: the close frame is sent once it is."""
    CLOSING = 4
    """The close frame follows when the client has taken what is waiting."""
    CLOSE_SENT = 5
    """By us or by the transport."""
    CLOSED = 6


# A frame asks several times, and looking up an enum's member in its class takes longer than all the rest of a question.
CONNECTING, OPEN, DRAINING, REFUSED, CLOSING, CLOSE_SENT, CLOSED = State
