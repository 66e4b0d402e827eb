"""ChatClient: registration, and the chats."""

from collections.abc import Callable
from functools import cache
from ssl import SSLContext
from typing import Self

import httpx
from msgspec import UNSET, UnsetType

from live_support_client._api import ChatServerApi
from live_support_client._chat import Chat
from live_support_client._checks import checked_id, checked_name, checked_text
from live_support_client._models import (
    Health,
    JoinRequest,
    NewUser,
    RegisteredUser,
    RegisteredUserWithToken,
    SupportJoin,
    UserJoin,
)
from live_support_client._options import ConnectionState, Options, Token
from live_support_client._urls import websocket_url


@cache
def _default_ssl(trust_env: bool) -> SSLContext:
    # Loading the certificates takes some 20 ms, and most programs have more than one client.
    return httpx.create_ssl_context(trust_env=trust_env)


class ChatClient:
    """A client of the ChatServer, for one event loop.

    Args:
        url: such as `http://localhost:9000`.
        options: how to connect.
    """

    def __init__(self, url: str, *, options: Options | None = None) -> None:
        self._options = options or Options()
        self._websocket_url = websocket_url(url)
        self._http = httpx.AsyncClient(
            base_url=url,
            headers=dict(self._options.headers),
            timeout=self._options.connect_seconds,
            trust_env=self._options.trust_env,
            verify=self._options.ssl or _default_ssl(self._options.trust_env),
        )
        self._api = ChatServerApi(self._http, self._options.connect_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections that requests have left open. Chats close on their own."""
        await self._http.aclose()

    async def register(self, username: str) -> RegisteredUser:
        """Open a chat for a user. Nobody waits for an agent until the chat is joined.

        Raises:
            Refused: the name is not allowed, or it is too fast, or the server cannot store anything.
            ConnectionLost: the server cannot be reached, or is none.
            TypeError: it is no text.
            RuntimeError: the client is closed, or belongs to another event loop.
        """
        return await self._api.register_user(checked_name(username, "A name"))

    async def create_user(self, username: str) -> RegisteredUserWithToken:
        """Open a chat for a user, with a token without which nobody can join as that user.

        Raises:
            Refused, ConnectionLost, TypeError, RuntimeError: as `register`.
        """
        return await self._api.create_user(NewUser(username=checked_name(username, "A name")))

    async def health(self) -> Health:
        """Ask whether the server can do its work."""
        return await self._api.get_health()

    def chat(
        self,
        user: RegisteredUser | RegisteredUserWithToken,
        *,
        support_id: str | None = None,
        on_state: Callable[[ConnectionState], object] | None = None,
    ) -> Chat:
        """Chat as the user: to be entered with `async with`, which joins.

        Args:
            user: as registration answered.
            support_id: from an earlier `Chat.support_id`, to get the history only.
            on_state: is called with every new `state` of the chat.

        Raises:
            InvalidInput, TypeError: an id is none, or a text cannot be sent.
        """
        if not isinstance(user, RegisteredUser | RegisteredUserWithToken):
            raise TypeError(f"user must be what registration answered, not {type(user).__name__}")
        me = UserJoin(
            user_id=checked_id(user.user_id, "user_id"),
            username=checked_text(user.username, "username"),
            support_id=_optional_id(support_id),
            token=checked_text(user.token, "token") if isinstance(user, RegisteredUserWithToken) else UNSET,
        )
        return Chat(self._websocket_url, checked_id(user.chat_id, "chat_id"), me, self._options, on_state=on_state)

    def support_chat(
        self,
        request: JoinRequest,
        *,
        name: str,
        username: str = "",
        support_id: str | None = None,
        token: Token | None = None,
        on_state: Callable[[ConnectionState], object] | None = None,
    ) -> Chat:
        """Chat as the agent: to be entered with `async with`, which joins.

        Args:
            request: whom to support, preferably after `JoinsClient.claim`.
            name: the agent's, as the user sees it.
            username: the user's, where the agent knows it.
            support_id: from an earlier `Chat.support_id`, to join once more, as after a refresh.
            token: the agent's (a JWT), where the server asks for one; the same agent's as that of the claim. Or a
                function that is called for it whenever a connection is made.
            on_state: is called with every new `state` of the chat.

        Raises:
            InvalidInput, TypeError: an id is none, or a text cannot be sent.
        """
        if not isinstance(request, JoinRequest):
            raise TypeError(f"request must be a JoinRequest, not {type(request).__name__}")
        me = SupportJoin(
            user_id=checked_id(request.user_id, "user_id"),
            username=checked_text(username, "username"),
            support_user_name=checked_name(name, "name"),
            support_id=_optional_id(support_id),
        )
        chat_id = checked_id(request.chat_id, "chat_id")
        return Chat(self._websocket_url, chat_id, me, self._options, token=token, on_state=on_state)


def _optional_id(support_id: str | None) -> str | UnsetType:
    return UNSET if support_id is None else checked_id(support_id, "support_id")
