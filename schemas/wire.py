"""Wire: reads and writes one version of the protocol. Each version is a module that implements it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from schemas.codec import FrameDecoder
from schemas.entry import Entry
from schemas.errors import ChatError
from schemas.messages import SupportJoined, UserJoined
from schemas.registry import select


class Wire(FrameDecoder, ABC):
    """Decodes the messages of a chat from clients of one version, and encodes those to them.

    Args:
        version: whose rows of the registry are decoded.
    """

    __slots__ = ()

    def __init__(self, version: int) -> None:
        super().__init__(select("chat", "in", version=version))

    @abstractmethod
    def decode_claim(self, frame: bytes) -> str:
        """Decode an agent's claim on `/joins`: the `userId`.

        Raises:
            InvalidFrame: it is not an id.
        """

    @abstractmethod
    def entry(self, entry: Entry) -> bytes | None:
        """Encode an entry of the log; None where clients of this version are sent nothing.

        Call `Entry.frame`, which keeps the frame for the other connections.
        """

    @abstractmethod
    def joined(self, args: UserJoined | SupportJoined) -> bytes:
        """Encode `Joined` for a connection that joins later than the participant."""

    @abstractmethod
    def history(self, messages: Sequence[bytes], *, first: bool = True, last: bool = True) -> bytes:
        """Encode a history, or a part of one.

        Args:
            messages: the bodies of their entries.
            first: whether the history begins with these.
            last: whether it ends with them.
        """

    @abstractmethod
    def expired(self, chat_id: str) -> bytes:
        """Encode `ChatExpired`."""

    @abstractmethod
    def error(self, error: ChatError, reference: str | None = None) -> bytes:
        """Encode `Error`.

        Args:
            error: the reason.
            reference: the id that the client gave the refused frame, where the version has a key for that.
        """
