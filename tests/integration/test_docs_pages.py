"""The docs pages in a real browser: they render what they describe, and nothing leaves the machine."""

import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import NamedTuple

import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from schemas.errors import CloseCode
from schemas.examples import CLAIM, REGISTERED_USER
from tests.helpers.services import Service, http

CHROMIUM = shutil.which("chromium")
if CHROMIUM is None:
    pytest.skip("Chromium is not installed: the docs pages are not looked at", allow_module_level=True)

pytestmark = pytest.mark.slow

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

IN_ORDER = ("200", "debug", "info", "log")
"""A response's status, or the kind of a line on the console."""


class Tab(NamedTuple):
    """A browser tab."""

    page: Page
    complaints: list[str]
    """Errors, warnings, failed requests, and requests to anywhere but the service."""

    def complain(self, what: str, detail: str) -> None:
        """Note what goes wrong; what is in order comes here, too."""
        if what not in IN_ORDER:
            self.complaints.append(f"{what}: {detail}")


@pytest.fixture
async def tab() -> AsyncIterator[Tab]:
    """A tab that notes what goes wrong in it."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        tab = Tab(await browser.new_page(viewport={"width": 1600, "height": 900}), [])
        tab.page.on("pageerror", lambda error: tab.complain("error", str(error)))
        tab.page.on("requestfailed", lambda request: tab.complain("failed", request.url))
        tab.page.on("console", lambda message: tab.complain(message.type, message.text))
        tab.page.on("response", lambda response: tab.complain(str(response.status), response.url))
        yield tab
        await browser.close()


async def follow(tab: Tab, service: Service, link: str) -> None:
    """Open a page by its link on the front page; what it loads must come from the service."""

    def watch(url: str) -> None:
        if not url.startswith((f"{service.http}/", "data:", "blob:")):
            tab.complain("leaves the machine", url)

    tab.page.on("request", lambda request: watch(request.url))
    tab.page.on("websocket", lambda socket: watch(socket.url))
    await tab.page.goto(service.http)
    await tab.page.get_by_role("link", name=link).click()
    await tab.page.wait_for_load_state("networkidle")
    # Requests for icons may be hidden from the events.
    loaded = "[...document.querySelectorAll('link[href], script[src], img[src]')].map(e => e.href || e.src)"
    for url in await tab.page.evaluate(loaded):
        watch(url)
    assert (await http("GET", f"{service.http}/favicon.ico")).headers["content-type"] == "image/svg+xml"


async def test_swagger_ui_shows_the_routes_of_the_chat_server(tab: Tab, chat_server: Service) -> None:
    await follow(tab, chat_server, "OpenAPI")
    for operation in ("users-registerUser", "users-createUser", "health-getHealth"):
        await expect(tab.page.locator(f"#operations-{operation}")).to_be_visible()
    register = tab.page.locator("#operations-users-registerUser")
    await register.locator(".opblock-summary-control").click()
    await expect(register.get_by_text(REGISTERED_USER["chatId"])).to_be_visible()
    await expect(register).to_contain_text("Retry-After")
    assert tab.complaints == []


async def test_swagger_ui_shows_the_routes_of_the_subscriber(tab: Tab, subscriber_service: Service) -> None:
    await follow(tab, subscriber_service, "OpenAPI")
    await expect(tab.page.locator("#operations-health-getHealth")).to_be_visible()
    assert tab.complaints == []


async def test_the_asyncapi_page_shows_the_chat(tab: Tab, chat_server: Service) -> None:
    await follow(tab, chat_server, "AsyncAPI")
    for operation in ("receiveFromParticipant", "sendToParticipant", "publishJoinRequest"):
        await expect(tab.page.locator(f"#operation-{operation}, [id*='{operation}']").first).to_be_visible()
    page = tab.page.locator("#asyncapi")
    for message in ("Join", "NewChatMessage", "Joined", "ChatMessage", "ChatHistory", "ChatExpired", "Error"):
        await expect(page.get_by_text(message, exact=True).first).to_be_visible()
    for code in CloseCode:
        await expect(page.get_by_role("cell", name=str(code.value), exact=True)).to_be_visible()
    assert tab.complaints == []


async def test_the_asyncapi_page_shows_the_joins(tab: Tab, subscriber_service: Service) -> None:
    await follow(tab, subscriber_service, "AsyncAPI")
    page = tab.page.locator("#asyncapi")
    for text in ("/joins", "receiveClaim", "sendToAgent", "receiveJoinRequest", "Claim", "JoinRequest", "Error"):
        await expect(page.get_by_text(text, exact=True).first).to_be_visible()
    assert tab.complaints == []


# To the eye.

FAINT = """() => {
  const numbers = (color) => color.match(/[\\d.]+/g).map(Number);
  const light = (color) => numbers(color).slice(0, 3)
    .map((part) => part / 255 <= 0.03928 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, place) => sum + part * [0.2126, 0.7152, 0.0722][place], 0);
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const color = getComputedStyle(element).backgroundColor;
      if (numbers(color).length < 4) return color;
    }
    return "rgb(255, 255, 255)";
  };
  const faint = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let text; (text = texts.nextNode());) {
    const element = text.parentElement;
    if (!text.textContent.trim() || !element.checkVisibility() || /SCRIPT|STYLE/.test(element.tagName)) continue;
    const [darker, lighter] = [light(getComputedStyle(element).color), light(ground(element))].sort((a, b) => a - b);
    if ((lighter + 0.05) / (darker + 0.05) < 4.5) faint.push(text.textContent.trim());
  }
  return faint;
}"""
"""Texts that do not stand out from their ground by 4.5:1 (WCAG 2, 1.4.3)."""


async def test_the_asyncapi_page_can_be_read(tab: Tab, chat_server: Service, subscriber_service: Service) -> None:
    for service in (chat_server, subscriber_service):
        await follow(tab, service, "AsyncAPI")
        await expect(tab.page.locator("#asyncapi h2").first).to_be_visible()
        assert await tab.page.evaluate(FAINT) == []
        quoted = "[...document.querySelectorAll('#asyncapi code')].map((e) => getComputedStyle(e, '::before').content)"
        assert set(await tab.page.evaluate(quoted)) == {"none"}
    # The claim, which is a bare text, is among what was looked at.
    await expect(tab.page.locator("#asyncapi .examples").get_by_text(CLAIM, exact=True)).to_be_visible()


async def test_the_pages_fit_on_a_phone(tab: Tab, chat_server: Service, subscriber_service: Service) -> None:
    await tab.page.set_viewport_size({"width": 390, "height": 800})
    for service in (chat_server, subscriber_service):
        for link in ("OpenAPI", "AsyncAPI"):
            await follow(tab, service, link)
            await expect(tab.page.locator("h2").first).to_be_visible()
            assert await tab.page.evaluate("document.documentElement.scrollWidth") <= 390


async def test_the_asyncapi_page_begins_with_what_clients_need(
    tab: Tab, chat_server: Service, subscriber_service: Service
) -> None:
    for service, first in ((chat_server, "Join"), (subscriber_service, "Claim")):
        await follow(tab, service, "AsyncAPI")
        page = tab.page.locator("#asyncapi")
        await expect(page.get_by_text(f"{service.ws}/").first).to_be_visible()
        await expect(page.locator("#servers")).not_to_contain_text("redis", ignore_case=True)
        await expect(page.get_by_text("a client sends what the service receives").first).to_be_visible()
        messages = await page.locator("#operations .panel-item span.text-gray-700.mr-2").all_text_contents()
        assert messages[0] == first, messages


# Behind a proxy.

OUTSIDE = "https://chat.example:8443/support"


async def open_outside(tab: Tab, service: Service, path: str) -> None:
    """Open a page through a proxy that does TLS and adds a prefix, of which the service hears nothing."""

    async def forward(route: Route) -> None:
        url = route.request.url
        if not url.startswith(f"{OUTSIDE}/"):
            tab.complain("leaves the prefix", url)
            await route.abort()
            return
        response = await http("GET", service.http + url.removeprefix(OUTSIDE))
        await route.fulfill(status=response.status_code, headers=dict(response.headers), body=response.content)

    await tab.page.route("**/*", forward)
    await tab.page.goto(f"{OUTSIDE}/")
    await tab.page.get_by_role("link", name=path).click()
    await tab.page.wait_for_load_state("networkidle")


async def test_the_asyncapi_page_works_under_a_prefix_and_shows_the_address_there(
    tab: Tab, chat_server: Service, subscriber_service: Service
) -> None:
    for service, operation in ((chat_server, "receiveFromParticipant"), (subscriber_service, "receiveClaim")):
        await open_outside(tab, service, "AsyncAPI")
        page = tab.page.locator("#asyncapi")
        await expect(page.get_by_text(operation, exact=True).first).to_be_visible()
        await expect(page.get_by_text("wss://chat.example:8443/support").first).to_be_visible()
        await expect(page).not_to_contain_text("localhost")
        links = await tab.page.evaluate("[...document.links].map((link) => link.href)")
        assert [link for link in links if "//chat.example" in link and not link.startswith(f"{OUTSIDE}/")] == []
        assert tab.complaints == []
        await tab.page.unroute_all()


async def test_swagger_ui_works_under_a_prefix_and_tries_the_address_there(tab: Tab, chat_server: Service) -> None:
    await open_outside(tab, chat_server, "OpenAPI")
    health = tab.page.locator("#operations-health-getHealth")
    await health.locator(".opblock-summary-control").click()
    await health.get_by_role("button", name="Try it out").click()
    await health.get_by_role("button", name="Execute").click()
    await expect(health.locator(".request-url")).to_contain_text(f"{OUTSIDE}/health")
    await expect(health.locator(".live-responses-table")).to_contain_text('"ok"')
    assert tab.complaints == []


async def test_no_page_and_no_document_has_an_address_of_its_own(
    chat_server: Service, subscriber_service: Service
) -> None:
    for service in (chat_server, subscriber_service):
        for path in ("/", "/schema", "/asyncapi", "/schema/openapi.json", "/asyncapi/asyncapi.json"):
            text = (await http("GET", service.http + path, headers={"Host": "localhost:8443"})).text
            for address in ("http://", "ws://", f":{service.port}", "localhost:8443"):
                assert address not in text, path


def test_the_first_visit_does_not_make_the_document() -> None:
    """Making it takes half a second, in which a process does nothing else."""
    script = """
import asyncio, httpx, sys, api.app, subscriber.app
from live_support.settings import Settings
async def visit():
    for create_service in (api.app.create_service, subscriber.app.create_service):
        transport = httpx.ASGITransport(create_service(Settings()).app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for path in ("/asyncapi", "/asyncapi/asyncapi.json"):
                assert (await client.get(path)).status_code == 200
asyncio.run(visit())
assert "litestar_asyncapi.asyncapi.generator" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)
