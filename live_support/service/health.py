"""`GET /health`: whether this process can do its work now."""

from litestar import Response, get, head
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from live_support.http.problems import problems
from live_support.redis.client import RedisClient
from live_support.redis.hub import Hub
from live_support.service.drain import Drain
from schemas.messages import Health

_SHARED_SECONDS = 0.1
"""How long an answer of Redis is shared: a flood of requests costs Redis ten probes a second."""


class Readiness:
    """Checks whether this process can do its work now.

    Args:
        redis: must be usable.
        hub: must be listening.
        drain: must not have begun.
    """

    def __init__(self, redis: RedisClient, hub: Hub, drain: Drain) -> None:
        self._redis = redis
        self._hub = hub
        self._drain = drain

    async def problem(self) -> str | None:
        """Return why this process cannot do its work, or None if it can."""
        if self._drain.stopping:
            return "The service is stopping."
        # Redis's own reason comes first: it names a missing right.
        if reason := await self._redis.ping(max_age_seconds=_SHARED_SECONDS):
            return reason
        return None if self._hub.listening else "Redis refuses a subscription."


@get(
    "/health",
    operation_id="getHealth",
    tags=["health"],
    summary="Ask whether the service can do its work",
    response_description="The service can do its work.",
    responses=problems(403)
    | {503: ResponseSpec(Health, description="It cannot do its work; the reason says why.", generate_examples=False)},
)
async def health(readiness: NamedDependency[Readiness]) -> Response[Health]:
    """Answer 200 when Redis answers and allows all that a join needs, else 503 with the reason."""
    reason = await readiness.problem()
    headers = {"Cache-Control": "no-store"}
    if reason is None:
        return Response(Health(status="ok"), headers=headers)
    return Response(Health(status="unavailable", reason=reason), status_code=503, headers=headers)


@head("/health", include_in_schema=False)
async def health_head(readiness: NamedDependency[Readiness]) -> Response[None]:
    """Answer as `GET` does, for monitors that read no body."""
    available = await readiness.problem() is None
    return Response(None, status_code=200 if available else 503, headers={"Cache-Control": "no-store"})
