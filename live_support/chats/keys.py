"""Every Redis key and channel: this module is the table.

| key or channel                         | type    | holds                                                   | ends            | written by          |
| -------------------------------------- | ------- | ------------------------------------------------------- | --------------- | ------------------- |
| live-support:chat:{ID}:meta            | hash    | whose chat it is, its state and counters                | chat TTL        | open, join, append  |
| live-support:chat:{ID}:log             | stream  | `<offset>-1` -> kind, body (`schemas.entry`): the truth | chat TTL        | join, append        |
| live-support:chat:{ID}:connections     | zset    | `participant:connection` by time of joining             | chat TTL        | join, ChatStore     |
| live-support:chat:{ID}:live            | channel | `<offset> <kind> <body>`: a hint that carries the entry | -               | join, append        |
| live-support:{joins}:waiting           | zset    | userId -> waiting since (µs); claimed users too         | swept           | queue scripts       |
| live-support:{joins}:leases            | zset    | userId -> end of the claim (ms), while claimed          | swept           | queue scripts       |
| live-support:{joins}:present           | zset    | userId -> end of the presence lease (ms)                | swept           | queue scripts       |
| live-support:{joins}:chats             | hash    | userId -> chatId of every user whom the queue knows     | swept           | queue scripts       |
| live-support:{joins}:stays             | hash    | userId -> entry id, new with each entry, rising         | swept           | queue scripts       |
| live-support:{joins}:claims            | hash    | userId -> `agent:connection`, while claimed             | swept           | queue scripts       |
| live-support:{joins}:version           | int     | rises with every change of the waiting list             | kept: one key   | queue scripts       |
| live-support:{joins}:changes           | stream  | `<version>-<clock>` -> userId: the last 1000 changes of the list | kept: one key | queue scripts  |
| live-support:{joins}:swept             | int     | time of the last sweep (ms)                             | kept: one key   | sweep               |
| live-support:{joins}:entries           | hash    | userId -> `[state, chatId, entryId, ...]` as JSON       | swept           | queue scripts       |
| live-support:{joins}:changed           | channel | a hint that the waiting list changed                    | -               | queue scripts       |
| live-support:rate:{ADDRESS}            | string  | when the address's bucket is full again (µs)            | by then         | take                |
| live-support:probe                     | zset    | never exists: write probes name it                      | -               | probe               |
| live-support:probe                     | channel | nothing: probes publish and subscribe                   | -               | probe               |
| Join                                   | channel | the join request of a user who enters the queue         | -               | enqueue             |

With another `KEY_PREFIX` all of them begin with that one, and the channel is `<prefix>:Join`.
The braces are part of the name: all keys of one call share a hash tag, so they are in one cluster slot.
A reader of the waiting list that finds its last known change in `changes` reads the users that have changed since; any
other one reads the whole list. Further data about a user is appended to the array in `entries`, and read with it.
The states of a chat (`chat.lua`) and of a user (`queue.lua`) are written in addition to the data from which earlier
releases infer them.
Fields of `meta`: userId, username, tokenHash; state (open, waiting, active); joined (the connection of the User's first `Join`); supportId,
supportUserName, agent (a hash of the Support's token's `sub`); joins (when the bucket of joins is full again, in µs);
offset (last entry of the log), messages, userMessages (those of the User among them), bytes, micros (of the last
message); said:CONNECTION (the replay window: the number of the connection's last message, and which of those before it are
not stored: a repeated or late one is not stored again).
"""

from typing import Final, NamedTuple

DEFAULT_PREFIX: Final = "live-support"
JOIN_CHANNEL: Final = "Join"
"""The channel of join requests, with the default prefix."""


class ChatKeys(NamedTuple):
    """The keys of one chat, in the order of the scripts' KEYS."""

    meta: str
    log: str
    connections: str
    live: str


class QueueKeys(NamedTuple):
    """The keys of the join queue, in the order of the scripts' KEYS."""

    waiting: str
    leases: str
    present: str
    chats: str
    stays: str
    claims: str
    version: str
    changes: str
    swept: str
    entries: str
    changed: str


class Keys:
    """The names of the keys of one installation.

    Args:
        prefix: the beginning of all names, so that several installations may share one Redis.
    """

    def __init__(self, prefix: str = DEFAULT_PREFIX) -> None:
        self._prefix = prefix
        self.queue = QueueKeys(*(f"{prefix}:{{joins}}:{name}" for name in QueueKeys._fields))
        self.probe = f"{prefix}:probe"
        self.pattern = f"{prefix}:*"
        self.join_channel = JOIN_CHANNEL if prefix == DEFAULT_PREFIX else f"{prefix}:{JOIN_CHANNEL}"

    def chat(self, chat_id: str) -> ChatKeys:
        """Return the keys of a chat."""
        chat = f"{self._prefix}:chat:{{{chat_id}}}:"
        return ChatKeys(chat + "meta", chat + "log", chat + "connections", chat + "live")

    def rate(self, address: str) -> str:
        """Return the key of the bucket of a client address, or of a network that counts as one."""
        return f"{self._prefix}:rate:{{{address}}}"


def said_field(connection_id: str) -> str:
    """Return the field of `meta` that holds a connection's replay window."""
    return f"said:{connection_id}"
