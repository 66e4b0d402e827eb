"""Addresses."""

from urllib.parse import quote, urlsplit


def segment(text: str) -> str:
    """Write a text as one segment of a path: neither a slash nor a lone dot in it means anything."""
    quoted = quote(text, safe="")
    return quoted.replace(".", "%2E") if quoted in (".", "..") else quoted


def websocket_url(url: str) -> str:
    """Turn the URL of a service into that of its WebSockets.

    Raises:
        ValueError: it is not the URL of a service.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"expected an http or https URL, got {url!r}")
    _ = parts.port  # raises ValueError if it is no port
    return f"{'ws' if parts.scheme == 'http' else 'wss'}://{url.rstrip('/').partition('://')[2]}"
