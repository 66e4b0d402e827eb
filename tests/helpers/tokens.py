"""Agents' tokens, as an identity provider makes them."""

import time
from typing import Any

import jwt

SECRET = "/Qn0wKJ+5nXzq2Vb7YcT1mLrP8sDfGhJ4kAaEeWu"  # noqa: S105 - for tests alone
OTHER_SECRET = "m3Zp9Rt+6xVcB1nQwErTyUiOpLkJhGfDsA72/XzC"  # noqa: S105


def make_token(
    subject: str = "vika",
    *,
    key: Any = SECRET,
    algorithm: str = "HS256",
    seconds: float = 3600,
    headers: dict[str, Any] | None = None,
    **claims: Any,
) -> str:
    """Make an agent's token; a claim given as None is left out."""
    made = {"sub": subject, "exp": time.time() + seconds, "scope": "openid agent", **claims}
    return jwt.encode(
        {name: value for name, value in made.items() if value is not None}, key, algorithm=algorithm, headers=headers
    )


def bearer(token: str) -> dict[str, Any]:
    """Options for a socket: the token as a header."""
    return {"additional_headers": {"Authorization": f"Bearer {token}"}}


def as_browser(token: str, *versions: str) -> dict[str, Any]:
    """Options for a socket: the token as a subprotocol, behind what else is offered."""
    return {"subprotocols": [*versions, f"bearer.{token}"]}
