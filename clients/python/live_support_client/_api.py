# Generated from schemas/*.json by `task sdk`; do not edit.
"""The HTTP calls, one method an operation."""

from live_support_client import _models as models
from live_support_client._http import Http
from live_support_client._urls import segment


class ChatServerApi(Http):
    """HTTP of the ChatServer."""

    async def get_health(self) -> models.Health:
        """Ask whether the service can do its work.

        Answer 200 when Redis answers and allows all that a join needs, else 503 with the reason.
        """
        return await self._request(
            "GET",
            "/health",
            answers={
                200: models.Health,
                503: models.Health,
            },
        )

    async def register_user(self, user_name: str) -> models.RegisteredUser:
        """Register a user.

        Register a user, whose chat is then open for the User's `Join`.
        """
        return await self._request(
            "GET",
            f"/user/join/{segment(user_name)}",
            answers={
                200: models.RegisteredUser,
            },
        )

    async def create_user(self, body: models.NewUser) -> models.RegisteredUserWithToken:
        """Register a user, with a token.

        Register a user whose `Join` also needs a secret token. New clients should use this.
        """
        return await self._request(
            "POST",
            "/users",
            body=body,
            answers={
                201: models.RegisteredUserWithToken,
            },
        )


class SubscriberApi(Http):
    """HTTP of the Subscriber."""

    async def get_health(self) -> models.Health:
        """Ask whether the service can do its work.

        Answer 200 when Redis answers and allows all that a join needs, else 503 with the reason.
        """
        return await self._request(
            "GET",
            "/health",
            answers={
                200: models.Health,
                503: models.Health,
            },
        )
