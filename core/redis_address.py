"""Address: where Redis is, and what it is told first. redis-py reads the URL and builds the TLS context."""

import asyncio
from collections.abc import Callable
from typing import Any

from redis.asyncio.connection import SSLConnection, parse_url

from core.resp import Resp


class Address:
    """Where Redis is, and what is to be said to it first.

    Args:
        url: `redis://`, `rediss://` or `unix://`, with what redis-py knows to read in one.
    """

    def __init__(self, url: str) -> None:
        given: dict[str, Any] = {**parse_url(url)}
        self._path: str | None = given.get("path")
        self._host: str = given.get("host", "localhost")
        self._port: int = given.get("port", 6379)
        self._tls = None
        if given.get("connection_class") is SSLConnection:
            options = {name: value for name, value in given.items() if name.startswith("ssl_")}
            self._tls = SSLConnection(**options).ssl_context.get()
        hello: list[str] = ["HELLO", "3"]
        if password := given.get("password"):
            hello += ["AUTH", given.get("username") or "default", password]
        self.greeting: list[list[str]] = [hello]
        if database := given.get("db"):
            self.greeting.append(["SELECT", str(database)])

    async def open(self, make: Callable[[], Resp]) -> Resp:
        """Connect.

        Raises:
            OSError: nobody answers there.
        """
        loop = asyncio.get_running_loop()
        if self._path is not None:
            _, connection = await loop.create_unix_connection(make, self._path)
        else:
            _, connection = await loop.create_connection(make, self._host, self._port, ssl=self._tls)
        return connection
