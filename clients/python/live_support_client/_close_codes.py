# Generated from schemas/*.json by `task sdk`; do not edit.
"""Why a server closes a WebSocket, and whether to connect again."""

CLOSE_CODES = {
    1003: ("text frames only", False),
    1011: ("internal error", True),
    1012: ("service restart", True),
    1013: ("try again later", True),
    4008: ("slow consumer", True),
    4408: ("idle", True),
    4429: ("rate limit exceeded", True),
    4500: ("malformed messages", False),
    4501: ("not authenticated", False),
    4503: ("not this participant", False),
    4509: ("replaced by a newer connection", False),
    4510: ("chat unknown or expired", False),
    4511: ("taken by another agent", False),
}
"""The reason, and whether reconnecting is right."""
