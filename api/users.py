"""Registration over HTTP (PROTOCOL section 2): opens a chat. The user enters the queue with the WebSocket `Join`.

A request is counted to its address before its body is read, so refused ones count, too.
"""

import secrets
from typing import Annotated, Any
from urllib.parse import unquote_to_bytes

from litestar import Request, get, post
from litestar.connection import ASGIConnection
from litestar.datastructures import ResponseHeader
from litestar.di import NamedDependency
from litestar.exceptions import HTTPException, PermissionDeniedException
from litestar.handlers.base import BaseRouteHandler
from litestar.openapi.spec import Example
from litestar.params import JSONBody, PathParameter

from live_support.chats.address_rate import AddressRate
from live_support.chats.store import ChatStore
from live_support.http.origin import is_cross_site
from live_support.http.problems import DocumentedOperation, problems
from live_support.refusal_log import Refusal, refused
from schemas.codec import decode_new_user
from schemas.errors import InvalidContent, RateLimited
from schemas.examples import REGISTERED_USER
from schemas.messages import NewUser, RegisteredUser, RegisteredUserWithToken
from schemas.text import NAME_MAX, clean_name

_NO_STORE = ResponseHeader(name="Cache-Control", value="no-store")
_USER_NAME = PathParameter(
    description="The name: 1..64 characters after NFC and trimming, as URL-encoded UTF-8.",
    examples=[Example(summary="a user", value=REGISTERED_USER["username"])],
    # Only published here: `schemas.text` counts after NFC.
    schema_extra={"min_length": 1, "max_length": NAME_MAX},
)
_Request = Request[Any, Any, Any]
_Connection = ASGIConnection[Any, Any, Any, Any]
# How browsers, old ones too, mark a prefetch.
_PURPOSES = ("sec-purpose", "purpose", "x-purpose", "x-moz")
_NOT_YET = ("prefetch", "prerender", "preview")


class Registrar:
    """Opens chats for users."""

    def __init__(self, store: ChatStore, rate: AddressRate) -> None:
        self._store = store
        self._rate = rate

    async def admit(self, address: str) -> None:
        """Count a request to its address.

        Raises:
            RateLimited: the address registers too often.
            Unavailable: Redis gives no definite answer.
        """
        if retry_after_ms := await self._rate.take(address):
            refused(Refusal.REGISTRATIONS)
            raise RateLimited("Too many registrations from your address.", retry_after_ms=retry_after_ms)

    async def register(self, username: str, *, token: str | None = None) -> RegisteredUser:
        """Open a chat for a user.

        Raises:
            InvalidContent: the name is not allowed.
            Unavailable: Redis gives no definite answer.
        """
        username = clean_name(username)
        user = RegisteredUser(user_id=secrets.token_hex(16), username=username, chat_id=secrets.token_hex(16))
        await self._store.open(user.chat_id, user_id=user.user_id, username=username, token=token)
        return user


# Guards, because they run before the body is read; coroutines, because a plain function runs in a thread. They get no
# dependencies, so the registrar is in the app's state as well.


async def _within_rate(connection: _Connection, _: BaseRouteHandler) -> None:
    registrar: Registrar = connection.app.state.registrar
    await registrar.admit(connection.client.host if connection.client else "")


async def _for_a_person(connection: _Connection, _: BaseRouteHandler) -> None:
    if any(word in connection.headers.get(name, "").lower() for name in _PURPOSES for word in _NOT_YET):
        refused(Refusal.PREFETCH)
        raise PermissionDeniedException("Prefetch requests are refused.")
    if is_cross_site(connection):
        refused(Refusal.CROSS_SITE)
        raise PermissionDeniedException("Links and images of other sites cannot register users.")


async def _json_only(connection: _Connection, _: BaseRouteHandler) -> None:
    # A browser's form can send some other types without a CORS preflight.
    if connection.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise HTTPException("Content-Type must be application/json.", status_code=415)


@get(
    "/user/join/{userName:path}",
    operation_id="registerUser",
    tags=["users"],
    summary="Register a user",
    response_description="The user may now chat.",
    response_headers=[_NO_STORE],
    guards=[_for_a_person, _within_rate],
    responses=problems(400, 403, 429, 503),
    operation_class=DocumentedOperation,
)
async def register_user(
    request: _Request,
    userName: Annotated[str, _USER_NAME],  # noqa: ARG001
    registrar: NamedDependency[Registrar],
) -> RegisteredUser:
    """Register a user, whose chat is then open for the User's `Join`."""
    return await registrar.register(_name_in(request))


@get(
    "/user/join",
    response_headers=[_NO_STORE],
    guards=[_for_a_person, _within_rate],
    include_in_schema=False,
)
async def register_no_name(request: _Request, registrar: NamedDependency[Registrar]) -> RegisteredUser:
    """Handle paths that the other route does not match: without a name, or with one of escaped slashes only."""
    return await registrar.register(_name_in(request))


def _name_in(request: _Request) -> str:
    """Read the name from the raw path: the decoded path does not show what was escaped."""
    raw = request.scope["raw_path"].partition(b"/user/join/")[2]
    if b"/" in raw:
        raise InvalidContent("A slash in a name must be escaped, as %2F.")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidContent("A name must be UTF-8.") from None


class _NewUserRequest(_Request):
    """A request whose body is decoded as the frames of a chat are."""

    async def json(self) -> NewUser:
        """Decode the body."""
        return decode_new_user(await self.body())


@post(
    "/users",
    operation_id="createUser",
    tags=["users"],
    summary="Register a user, with a token",
    response_description="The user may now chat, with the token.",
    response_headers=[_NO_STORE],
    request_class=_NewUserRequest,
    guards=[_json_only, _within_rate],
    responses=problems(400, 403, 413, 415, 429, 503),
    operation_class=DocumentedOperation,
)
async def create_user(data: JSONBody[NewUser], registrar: NamedDependency[Registrar]) -> RegisteredUserWithToken:
    """Register a user whose `Join` also needs a secret token. New clients should use this."""
    token = secrets.token_urlsafe(24)
    user = await registrar.register(data.username, token=token)
    return RegisteredUserWithToken(user_id=user.user_id, username=user.username, chat_id=user.chat_id, token=token)
