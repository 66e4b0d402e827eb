"""The docs pages of both services: `/schema`, `/asyncapi`, and `/` that leads to them. All assets are local."""

from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

from litestar import MediaType, Router, get
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import SwaggerRenderPlugin
from litestar.openapi.spec import Schema, Server
from litestar.plugins import OpenAPISchemaPlugin
from litestar.static_files import create_static_files_router
from litestar.typing import FieldDefinition
from litestar_asyncapi import AsyncAPIConfig, AsyncAPIPlugin, ChannelDefinition
from litestar_asyncapi.config import DocsConfig
from litestar_asyncapi.plugins import AsyncAPIUIRenderPlugin
from litestar_asyncapi.spec import Components
from msgspec import Struct

from core.asyncapi import REDIS, security_schemes
from schemas import messages
from schemas.examples import MESSAGE_EXAMPLES
from schemas.json_schema import json_schemas

_ASSETS = "/docs-assets"
_PAGES = files("core") / "pages"


@get("/", media_type=MediaType.HTML, include_in_schema=False, sync_to_thread=False)
def index() -> str:
    """Lead a person to the pages."""
    return (_PAGES / "index.html").read_text("utf-8")


@get("/favicon.ico", media_type="image/svg+xml", include_in_schema=False, sync_to_thread=False)
def favicon() -> str:
    """Give browsers the icon that they ask for on every page."""
    return (_PAGES / "favicon.svg").read_text("utf-8")


def assets() -> Router:
    """Serve the pages' scripts and styles from an installed package, so that they work without internet."""
    folder = files("litestar_offline_docs") / "static"
    return create_static_files_router(_ASSETS, [str(folder)], include_in_schema=False)


def asset_folders() -> dict[str, Path]:
    """Where the pages' files are, by the path that they are served under."""
    folders = {
        _ASSETS: files("litestar_offline_docs") / "static",
        "/asyncapi/assets": files("litestar_asyncapi") / "assets",
    }
    return {prefix: Path(str(folder)) for prefix, folder in folders.items()}


def openapi(name: str, description: str) -> OpenAPIConfig:
    """Describe a service's HTTP routes at `/schema`."""
    swagger = SwaggerRenderPlugin(
        js_url=f"{_ASSETS}/swagger-ui-bundle.js",
        css_url=f"{_ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{_ASSETS}/swagger-ui-standalone-preset.js",
        favicon="",  # the default one is on another host; browsers find ours by themselves
    )
    return OpenAPIConfig(
        title=name,
        version=version("live-support"),
        description=description,
        path="/schema",
        render_plugins=[swagger],
        # Relative, so that the page tries the routes of the service that it came from.
        servers=[Server(url="/", description=name)],
        use_handler_docstrings=True,
    )


def asyncapi(name: str, key: str, description: str, port: int, channels: Sequence[ChannelDefinition]) -> AsyncAPIPlugin:
    """Describe a service's WebSockets and Redis channels at `/asyncapi`."""
    page = AsyncAPIUIRenderPlugin(
        style="<style>body { margin: 0; font-family: sans-serif }</style>",
        config={"show": {"sidebar": True}, "expand": {"messageExamples": True}},
    )
    return AsyncAPIPlugin(
        AsyncAPIConfig(
            title=name,
            version=version("live-support"),
            description=description,
            default_content_type="application/json",
            servers={
                key: {
                    "host": f"localhost:{port}",
                    "protocol": "ws",
                    "title": name,
                    "description": description,
                },
                **REDIS,
            },
            channels=list(channels),
            components=Components(security_schemes=security_schemes()),
            docs=DocsConfig(render_plugins=[page]),
        )
    )


class StructSchemas(OpenAPISchemaPlugin):
    """Shows a struct in both documents as the exported JSON Schema does.

    Litestar's own translation loses bounds and descriptions.
    """

    def is_plugin_supported_field(self, field_definition: FieldDefinition) -> bool:
        """Say that structs are ours."""
        return not field_definition.is_union and field_definition.is_subclass_of(Struct)

    def to_openapi_schema(self, field_definition: FieldDefinition, schema_creator: Any) -> Schema:
        """Register the struct's schema, and those of the structs that it is made of."""
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
