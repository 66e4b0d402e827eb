"""The docs pages of both services: `/schema`, `/asyncapi`, and `/` with links to them.

All assets are local, and all links relative: a page works under any prefix of a proxy, announced or not.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from litestar import MediaType, Request, Router, get
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Contact, License, Schema, Server, Tag
from litestar.plugins import OpenAPISchemaPlugin
from litestar.typing import FieldDefinition
from litestar_asyncapi import AsyncAPIConfig, AsyncAPIPlugin, ChannelDefinition
from litestar_asyncapi.config import DocsConfig
from litestar_asyncapi.spec import Components
from msgspec import Struct

from live_support.docs_pages.asyncapi import security_schemes, servers
from schemas import messages
from schemas.examples import MESSAGE_EXAMPLES
from schemas.json_schema import json_schemas

PROJECT: Final = "Live Support Chat Server"
SCHEMA: Final = "/schema"
ASYNCAPI: Final = "/asyncapi"
_ASSETS: Final = "/docs-assets"
_RENDERER: Final = f"{ASYNCAPI}/assets"
_PAGES = files("live_support.docs_pages") / "static"
_DOCUMENTS = files("schemas")


@get("/", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def index(request: Request[Any, Any, Any]) -> str:
    """Link to the pages."""
    _only_at("/", request)
    return _page("index.html")


@get("/favicon.ico", media_type="image/svg+xml", include_in_schema=False, sync_to_thread=False)
def favicon() -> str:
    """Serve the icon that browsers request for every page."""
    return _page("favicon.svg")


def asyncapi_pages(key: str) -> Router:
    """Serve a service's AsyncAPI document as it is exported, and the page that shows it.

    Making it again would take half a second, in which the process does nothing else.
    """

    @get("/", media_type=MediaType.HTML, sync_to_thread=False)
    def page(request: Request[Any, Any, Any]) -> str:
        _only_at(ASYNCAPI, request)
        renderer, styles = _renderer()
        links = "\n    ".join(f'<link rel="stylesheet" href="{style}">' for style in styles)
        return _page("asyncapi.html").replace("<!-- styles -->", links).replace("RENDERER", renderer)

    @get("/asyncapi.json", media_type="application/vnd.asyncapi+json", sync_to_thread=False)
    def document(request: Request[Any, Any, Any]) -> str:
        _only_at(f"{ASYNCAPI}/asyncapi.json", request)
        return _document(f"asyncapi.{key}.json")

    return Router(ASYNCAPI, route_handlers=[page, document], include_in_schema=False)


def asset_folders() -> dict[str, Path]:
    """Return the folders of the pages' files, by the path that they are served under."""
    folders = {
        _ASSETS: files("litestar_offline_docs") / "static",
        f"{_ASSETS}/pages": _PAGES,
        _RENDERER: files("litestar_asyncapi") / "assets",
    }
    return {prefix: Path(str(folder)) for prefix, folder in folders.items()}


class _SwaggerPage(OpenAPIRenderPlugin):
    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:  # noqa: ARG002
        _only_at(SCHEMA, request)
        return _page("schema.html").encode()


class _OpenAPIDocument(JsonRenderPlugin):
    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        _only_at(f"{SCHEMA}/openapi.json", request)
        return super().render(request, openapi_schema)


def _only_at(path: str, request: Request[Any, Any, Any]) -> None:
    """Refuse other spellings of an address, as with a slash at the end: relative links of the page would break.

    Raises:
        NotFoundException: it is another spelling.
    """
    if request.scope["raw_path"] != path.encode():
        raise NotFoundException


@cache
def _page(name: str) -> str:
    return (_PAGES / name).read_text("utf-8")


@cache
def _document(name: str) -> str:
    return (_DOCUMENTS / name).read_text("utf-8")


@cache
def _renderer() -> tuple[str, list[str]]:
    """Find the script that shows an AsyncAPI document, and its styles: their names contain hashes."""
    folder = f"{_RENDERER.removeprefix('/')}/ui"
    manifest = json.loads((files("litestar_asyncapi") / "assets" / "ui" / "manifest.json").read_text("utf-8"))
    entry = manifest["tools/frontend/react.ts"]
    return f"{folder}/{entry['file']}", [f"{folder}/{style}" for style in entry["css"]]


def openapi(name: str, description: str) -> OpenAPIConfig:
    """Describe a service's HTTP routes at `/schema`."""
    return OpenAPIConfig(
        title=name,
        version=version("live-support"),
        description=description,
        path=SCHEMA,
        render_plugins=[_SwaggerPage(), _OpenAPIDocument()],
        # The page inserts its own address here.
        servers=[Server(url="/", description=name)],
        use_handler_docstrings=True,
        contact=Contact(name=PROJECT),
        license=License(name="MIT", identifier="MIT"),
        tags=[
            Tag(name="users", description="Registration, which opens a chat."),
            Tag(name="health", description="For load balancers and monitors."),
        ],
        # No HTTP route needs credentials: agents send theirs with the WebSocket handshake.
        security=[],
    )


def asyncapi(name: str, key: str, description: str, port: int, channels: Sequence[ChannelDefinition]) -> AsyncAPIPlugin:
    """Describe a service's WebSockets and Redis channels, for the export."""
    return AsyncAPIPlugin(
        AsyncAPIConfig(
            title=name,
            version=version("live-support"),
            description=description,
            default_content_type="application/json",
            # The version that the generators of the AsyncAPI project can read.
            spec_version="3.0.0",
            servers=servers(name, key, description, port),
            channels=list(channels),
            components=Components(security_schemes=security_schemes()),
            docs=DocsConfig(enabled=False),
        )
    )


class StructSchemas(OpenAPISchemaPlugin):
    """Describes a struct in both documents as the exported JSON Schema does.

    Litestar's own translation loses bounds and descriptions.
    """

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Claim structs for this plugin."""
        return not field_definition.is_union and field_definition.is_subclass_of(Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Register the schemas of a struct and of the structs that it consists of."""
        _, components = json_schemas([field_definition.annotation], "#/components/schemas/{name}")
        registry = schema_creator.schema_registry
        for name, keywords in components.items():
            struct = getattr(messages, name)
            schema = registry.get_schema_for_field_definition(FieldDefinition.from_annotation(struct))
            for keyword, value in keywords.items():
                setattr(schema, keyword, value)
            if struct in MESSAGE_EXAMPLES:
                schema.examples = None  # the AsyncAPI page shows them with the message
        own: Schema = registry.get_schema_for_field_definition(field_definition)
        return own
