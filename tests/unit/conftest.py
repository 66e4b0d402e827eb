"""Unit tests know neither Redis nor a service: with neither they run in seconds, in `task test:unit`."""

import pytest


@pytest.fixture(scope="session")
def redis_url() -> str:
    """What needs Redis, such as a service, belongs into another folder."""
    pytest.fail("a test in tests/unit has asked for Redis")
