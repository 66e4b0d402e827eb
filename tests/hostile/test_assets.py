"""The docs pages' files: each has one address, and all else is not there, without a word in the log."""

import asyncio
import importlib.util
import logging
from pathlib import Path

import pytest

from live_support.docs_pages.pages import asset_folders
from tests.helpers.services import DEADLINE, Service, http

BUNDLE = "/docs-assets/swagger-ui-bundle.js"
FILES = [
    f"{prefix}/{file.relative_to(folder).as_posix()}"
    for prefix, folder in asset_folders().items()
    for file in folder.rglob("*.js")
]

SPELLINGS = [
    "{}/",
    "{}//",
    "{}/x",
    "{}/.",
    "{}/..",
    "{}%00",
    "{}%2f",
    "{}/%00",
    "{}.",
    "{}%20",
    "{};x",
    "/{}",
    "/.{}",
]
PATHS = [
    *(form.format(name) for form in SPELLINGS for name in (BUNDLE, "/asyncapi/asyncapi.json", "/schema/openapi.json")),
    *(
        f"{folder}/{name}"
        for folder in ("/docs-assets", "/docs-assets/pages", "/asyncapi", "/asyncapi/assets", "/schema", "")
        for name in (
            ".",
            "..",
            "%00",
            "%2e%2e",
            "..%2f..%2fcore%2fsettings.py",
            "../../live_support/settings.py",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "a" * 300,
            "%C3%A4" * 100,
            "%ff",
            "a/" * 200,
            "__init__.py",
        )
    ),
    "/docs-assets/%2fswagger-ui-bundle.js",
    "/docs-assets//swagger-ui-bundle.js",
    "/docs-assets/SWAGGER-UI-BUNDLE.js",
    "/asyncapi/",
    "/schema/",
    "/%61syncapi",
    "//asyncapi",
    "//",
]

PACKAGES = str(Path(importlib.util.find_spec("litestar").origin or "").parent.parent)  # type: ignore[union-attr]


async def answer(service: Service, path: str, method: str = "GET", headers: str = "") -> tuple[int, bytes]:
    """The status and the rest of an answer to a path that a client library would tidy."""
    reader, writer = await asyncio.open_connection("127.0.0.1", service.port)
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n".encode())
    async with asyncio.timeout(DEADLINE):
        text = await reader.read()
    writer.close()
    return int(text.split()[1]), text


async def test_a_file_has_one_address(
    chat_server: Service,
    subscriber_service: Service,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Whatever a program that embeds the service makes of its logs.
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)
    capfd.readouterr()
    caplog.clear()
    for service in (chat_server, subscriber_service):
        for path in PATHS:
            status, text = await answer(service, path)
            assert status == 404, path
            assert len(text) < 1000, path
            for trace in (b"Traceback", b"site-packages", PACKAGES.encode(), str(Path(__file__).parents[2]).encode()):
                assert trace not in text, path
    logged = capfd.readouterr()
    assert (logged.out, logged.err, caplog.records) == ("", "", [])


async def test_every_file_is_there(chat_server: Service, subscriber_service: Service) -> None:
    for service in (chat_server, subscriber_service):
        for path in (BUNDLE, "/docs-assets/pages/docs.css", FILES[0], FILES[-1]):
            response = await http("GET", service.http + path)
            assert response.status_code == 200
            assert response.headers["content-type"].partition(";")[0] in ("text/javascript", "text/css")
            assert len(response.content) == int(response.headers["content-length"])


async def test_other_ways_to_ask_for_a_file(chat_server: Service, subscriber_service: Service) -> None:
    for service in (chat_server, subscriber_service):
        whole = len((await http("GET", service.http + BUNDLE)).content)
        # A range or a condition may be ignored (RFC 9110, 14.2 and 13.1).
        for headers in ("Range: bytes=0-9", "Range: bytes=9-0", "If-None-Match: *", "If-Modified-Since: x"):
            status, text = await answer(service, BUNDLE, headers=f"{headers}\r\n")
            assert (status, len(text.partition(b"\r\n\r\n")[2])) == (200, whole)
        status, text = await answer(service, f"{BUNDLE}?%00=/..")
        assert status == 200
        status, text = await answer(service, BUNDLE, "HEAD")
        assert status == 200
        assert text.endswith(b"\r\n\r\n")
        assert f"content-length: {whole}".encode() in text.lower()
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"):
            status, text = await answer(service, BUNDLE, method)
            assert status in (404, 405), method
            assert len(text) < 1000
