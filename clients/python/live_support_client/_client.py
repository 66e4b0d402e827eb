"""ChatClient: registration, and the chats."""

from functools import cache
from ssl import SSLContext
from typing import Self

import httpx
from msgspec import UNSET

from live_support_client._api import ChatServerApi
from live_support_client._chat import Chat
from live_support_client._models import (
    Health,
    JoinRequest,
    NewUser,
    RegisteredUser,
    RegisteredUserWithToken,
    SupportJoin,
    UserJoin,
)
from live_support_client._options import Options
from live_support_client._urls import websocket_url


@cache
def _default_ssl(trust_env: bool) -> SSLContext:
    # Loading the certificates takes some 20 ms, and most programs have more than one client.
    return httpx.create_ssl_context(trust_env=trust_env)


class ChatClient:
    """A client of the ChatServer.

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
        self._api = ChatServerApi(self._http)

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
            ConnectionLost: the server cannot be reached.
        """
        return await self._api.register_user(username)

    async def create_user(self, username: str) -> RegisteredUserWithToken:
        """Open a chat for a user, with a token without which nobody can join as that user.

        Raises:
            Refused, ConnectionLost: as `register`.
        """
        return await self._api.create_user(NewUser(username=username))

    async def health(self) -> Health:
        """Ask whether the server can do its work."""
        return await self._api.get_health()

    def chat(self, user: RegisteredUser | RegisteredUserWithToken, *, support_id: str | None = None) -> Chat:
        """Chat as the user: to be entered with `async with`, which joins.

        Args:
            user: as registration answered.
            support_id: from an earlier `Chat.support_id`, to get the history only.
        """
        me = UserJoin(
            user_id=user.user_id,
            username=user.username,
            support_id=support_id or UNSET,
            token=user.token if isinstance(user, RegisteredUserWithToken) else UNSET,
        )
        return Chat(self._websocket_url, user.chat_id, me, self._options)

    def support_chat(
        self,
        request: JoinRequest,
        *,
        name: str,
        username: str = "",
        support_id: str | None = None,
        token: str | None = None,
    ) -> Chat:
        """Chat as the agent: to be entered with `async with`, which joins.

        Args:
            request: whom to support, preferably after `JoinsClient.claim`.
            name: the agent's, as the user sees it.
            username: the user's, where the agent knows it.
            support_id: from an earlier `Chat.support_id`, to join once more, as after a refresh.
            token: the agent's (a JWT), where the server asks for one; the same agent's as that of the claim.
        """
        me = SupportJoin(
            user_id=request.user_id,
            username=username,
            support_user_name=name,
            support_id=support_id or UNSET,
        )
        return Chat(self._websocket_url, request.chat_id, me, self._options.with_token(token))
