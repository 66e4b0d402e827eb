"""`GET /health`: whether this process can do its work now."""

from litestar import Response, get
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec

from core.drain import Drain
from core.hub import Hub
from core.problems import problems
from core.redis import Redis
from schemas.messages import Health


async def why_unavailable(redis: Redis, hub: Hub, drain: Drain) -> str | None:
    """Say why this process cannot do its work now, as `/health` does; None if it can."""
    if drain.stopping:
        return "The service is stopping."
    return await redis.ping() or (None if hub.listening else "The hub does not listen on Redis.")


@get(
    "/health",
    operation_id="getHealth",
    tags=["health"],
    summary="Ask whether the service can do its work",
    response_description="It can.",
    responses=problems(403)
    | {503: ResponseSpec(Health, description="It cannot; the reason says why.", generate_examples=False)},
)
async def health(
    redis: NamedDependency[Redis], hub: NamedDependency[Hub], drain: NamedDependency[Drain]
) -> Response[Health]:
    """Answer 200 when Redis answers, takes writes, and the hub listens, else 503 with the reason."""
    reason = await why_unavailable(redis, hub, drain)
    headers = {"Cache-Control": "no-store"}
    if reason is None:
        return Response(Health(status="ok"), headers=headers)
    return Response(Health(status="unavailable", reason=reason), status_code=503, headers=headers)
