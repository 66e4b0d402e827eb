"""Addresses."""

from urllib.parse import quote


def segment(text: str) -> str:
    """Write a text as one segment of a path: neither a slash nor a lone dot in it means anything."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def websocket_url(url: str) -> str:
    """Turn the URL of a service into that of its WebSockets."""
    scheme, separator, rest = url.rstrip("/").partition("://")
    if not separator or scheme not in ("http", "https"):
        raise ValueError(f"expected an http or https URL, got {url!r}")
    return f"{'ws' if scheme == 'http' else 'wss'}://{rest}"
