"""Limits: bounds that are no settings, as running the system never needs to change them."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of a process. Tests change them."""

    frame_bytes: int = 64 * 1024
    """An incoming WebSocket message larger than this closes with 1009."""
    head_bytes: int = 16 * 1024
    """A request whose line and headers are larger is refused."""
    head_seconds: float = 5
    """A request's head must be there so long after the connection, or after the last answer."""
    body_bytes: int = 16 * 1024
    """A request with a larger body is refused."""
    body_seconds: float = 10
    """A request's body must be there so long after its head."""
    pipelined_requests: int = 8
    """Requests of one connection that wait for the answer to an earlier one."""
    read_seconds: float = 20
    """An HTTP peer that does not go on reading an answer for so long is cut off."""
    linger_seconds: float = 5
    """An HTTP peer that does not read the end of an answer for so long after it is cut off."""
    connections_per_address: int = 100
    """The default of `CONNECTIONS_PER_ADDRESS` where it applies."""
    first_frame_seconds: float = 10
    """A chat connection that has not joined by then is closed."""
    malformed_in_a_row: int = 3
    """So many malformed frames one after the other close the connection."""
    connections_per_participant: int = 5
    """Tabs of one participant in one chat; the oldest makes room."""
    replaced_connections: int = 1000
    """So many in one chat; then no more is let in until one leaves. Each is an entry of the chat's log."""
    outbox_frames: int = 256
    """Frames waiting for one connection; more means a slow consumer."""
    outbox_bytes: int = 1024 * 1024
    """Bytes waiting for one connection; a single larger frame still passes."""
    send_buffer_bytes: int = 128 * 1024
    """What the kernel holds for a peer (Linux doubles it): at a round trip of 0.1 s some 1..2 MB/s."""
    send_seconds: float = 5
    """A peer that takes nothing for so long is cut off."""
    send_bytes_per_second: int = 32 * 1024
    """How fast a peer must take a large frame; a history has that much more time."""
    close_seconds: float = 8
    """A peer that has not completed the closing handshake by then is cut off."""
    in_flight_frames: int = 32
    """Frames of one connection that are worked on at a time; more wait, and reading pauses."""
    replay_window_messages: int = 32
    """Numbers of a connection's last messages that a chat keeps, to know those that are sent to Redis again. At least
    `in_flight_frames`, since all of these may be sent again."""
    fragments: int = 64
    """Fragments of one message; more close with 1008."""
    control_frames_per_second: int = 20
    """Pings and pongs of one connection; more close with 1008."""
    store_seconds: float = 4
    """A write that Redis has not confirmed by then is answered with `unavailable`."""
    redis_commands: int = 20_000
    """Commands of one process that wait for Redis; more are refused with `unavailable`."""
    waiting_users: int = 10_000
    """Users in the queue at the most."""
    stop_notice_seconds: float = 0.5
    """So long a stopping service only says so on `/health`: time for a proxy that looks often to send new clients
    elsewhere. Longer helps no one: new sockets are refused with 503, and a proxy tries the next process."""
    leave_seconds: float = 2
    """A peer that has not left so long after 1012 is cut off: it does not read."""
    drain_seconds: float = 8
    """How long a stopping service waits for its clients in all. It ends within 10 s, whatever they do."""

    def __post_init__(self) -> None:
        if self.replay_window_messages < self.in_flight_frames:
            raise ValueError("replay_window_messages is below in_flight_frames: a repeated message would be unknown")
