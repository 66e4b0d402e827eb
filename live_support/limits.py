"""Limits: bounds that are not settings, as no operator needs to change them."""

from msgspec import Struct


class Limits(Struct, frozen=True, kw_only=True):
    """The bounds of a process. Only tests change them."""

    frame_bytes: int = 64 * 1024
    """An incoming WebSocket message larger than this closes with 1009."""
    head_bytes: int = 16 * 1024
    """A request whose line and headers are larger is refused."""
    head_seconds: float = 5
    """Seconds from the connection or the last answer until the head of a request must be complete."""
    body_bytes: int = 16 * 1024
    """A request with a larger body is refused."""
    body_seconds: float = 10
    """Seconds from the head of a request until its body must be complete."""
    pipelined_requests: int = 8
    """Requests of one connection that may wait for the answer to an earlier one."""
    read_seconds: float = 20
    """Seconds without progress in reading an answer until an HTTP client is cut off."""
    linger_seconds: float = 5
    """Seconds after the end of an answer until an HTTP client that has not read it is cut off."""
    connections_per_address: int = 100
    """The default of `CONNECTIONS_PER_ADDRESS` where it applies."""
    first_frame_seconds: float = 10
    """Seconds until a chat connection that has not joined is closed."""
    malformed_in_a_row: int = 3
    """Malformed frames one after the other that close the connection."""
    connections_per_participant: int = 5
    """Connections (tabs) of one participant in one chat; a further one closes the oldest."""
    replaced_connections: int = 1000
    """Connections of one chat that newer ones have replaced; each is an entry of the chat's log. Beyond this no further
    connection is let in until one leaves."""
    outbox_frames: int = 256
    """Frames queued for one connection; more means a slow consumer."""
    outbox_bytes: int = 1024 * 1024
    """Bytes queued for one connection; a single larger frame is still allowed."""
    send_buffer_bytes: int = 128 * 1024
    """The kernel's send buffer for a client (Linux doubles it): at a round trip of 0.1 s it allows some 1..2 MB/s."""
    send_seconds: float = 5
    """Seconds without progress in sending until a client is cut off."""
    send_bytes_per_second: int = 32 * 1024
    """How fast a client must read a large frame: its deadline is extended accordingly."""
    close_seconds: float = 8
    """Seconds until a client that does not complete the closing handshake is cut off."""
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
    """Seconds in which a stopping service only answers 503 on `/health`, so that a proxy that checks often sends new
    clients elsewhere. A longer notice would not help: new sockets are refused with 503, and a proxy tries the next
    process."""
    leave_seconds: float = 2
    """Seconds after a close with 1012 until a client that has not closed is cut off."""
    drain_seconds: float = 8
    """Seconds that a stopping service waits for its clients in all. It ends within 10 s, whatever they do."""

    def __post_init__(self) -> None:
        """Check that the bounds fit together."""
        if self.replay_window_messages < self.in_flight_frames:
            raise ValueError("replay_window_messages is below in_flight_frames: a repeated message would be unknown")
