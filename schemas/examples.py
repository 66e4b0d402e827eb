"""The examples of the published documents. Most are from the original request (verbatim in `tests/seed/`)."""

from typing import Any, Final

from msgspec import Struct

from schemas import messages

REGISTERED_USER: Final[dict[str, Any]] = {
    "userId": "9d6d2db0cdb84d8ba67105670d94d641",
    "username": "Nika",
    "chatId": "d2464b5386044daf9e36ffd414260f67",
}

USER_JOIN: Final[dict[str, Any]] = {
    "type": "Join",
    "args": {"userId": "8b5ee49aa3bb45e1a8719179e5e25c12", "username": "Nika", "from": "User"},
}

USER_JOINED: Final[dict[str, Any]] = {
    "type": "Joined",
    "args": {"participant": "User", "userId": "f49f3cc665af4cb38092af714a4c87fa"},
}

# The original writes "..." for these ids.
JOIN_REQUEST: Final[dict[str, Any]] = {
    "participant": "User",
    "userId": "f49f3cc665af4cb38092af714a4c87fa",
    "chatId": "d2464b5386044daf9e36ffd414260f67",
}

SUPPORT_JOIN: Final[dict[str, Any]] = {
    "type": "Join",
    "args": {
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportUserName": "Vika",
        "username": "Nika",
        "from": "Support",
    },
}

SUPPORT_JOINED: Final[dict[str, Any]] = {
    "type": "Joined",
    "args": {
        "participant": "Support",
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "supportUserName": "Vika",
    },
}

USER_MESSAGE: Final[dict[str, Any]] = {
    "type": "ChatMessage",
    "args": {
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "content": "Hey, I want to transfer money offshore, how can I do it via internet bank?",
        "from": "User",
    },
}

USER_ECHO: Final[dict[str, Any]] = {
    "type": "ChatMessage",
    "args": {
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "content": "hey",
        "timestamp": "2023-10-22T18:18:59.360855Z",
        "from": "User",
    },
}

SUPPORT_MESSAGE: Final[dict[str, Any]] = {
    "type": "ChatMessage",
    "args": {
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "supportUserName": "Vika",
        "content": "Hello, please navigate to Transfer and then select Offshore :)",
        "from": "Support",
    },
}

SUPPORT_ECHO: Final[dict[str, Any]] = {
    "type": "ChatMessage",
    "args": {
        "userId": "f49f3cc665af4cb38092af714a4c87fa",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "content": "Hello, please navigate to Transfer and then select Offshore :)",
        "timestamp": "2023-10-22T18:19:19.119515Z",
        "from": "Support",
    },
}

USER_REJOIN: Final[dict[str, Any]] = {
    "type": "Join",
    "args": {
        "userId": "8b5ee49aa3bb45e1a8719179e5e25c12",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "username": "Nika",
        "from": "User",
    },
}

CHAT_HISTORY: Final[dict[str, Any]] = {
    "type": "ChatHistory",
    "args": {
        "messages": [
            {
                "userId": "718b568c22f6460ca46a07cfc6aae3ba",
                "supportId": "35eda9304e554514915fdbb8f26b710d",
                "content": "Hey, I want to transfer money offshore, how can I do it via internet bank?",
                "timestamp": "2023-10-22T18:36:54.834408Z",
                "from": "User",
            },
            {
                "userId": "718b568c22f6460ca46a07cfc6aae3ba",
                "supportId": "35eda9304e554514915fdbb8f26b710d",
                "content": "Hello, please navigate to Transfer and then select Offshore :)",
                "timestamp": "2023-10-22T18:37:10.219775Z",
                "from": "Support",
            },
        ]
    },
}

SUPPORT_REJOIN: Final[dict[str, Any]] = {
    "type": "Join",
    "args": {
        "userId": "8b5ee49aa3bb45e1a8719179e5e25c12",
        "supportId": "7c270542e64a4dfbb2bc1c7793746674",
        "username": "Nika",
        "supportUserName": "Vika",
        "from": "Support",
    },
}

# Messages that the original describes in words only.

CHAT_EXPIRED: Final[dict[str, Any]] = {
    "type": "ChatExpired",
    "args": {"chatId": "d2464b5386044daf9e36ffd414260f67"},
}

NEW_USER: Final[dict[str, Any]] = {"username": "Nika"}

REGISTERED_USER_WITH_TOKEN: Final[dict[str, Any]] = {
    **REGISTERED_USER,
    "token": "bFKjWwv3j8_W1uP3VUqHX_YzmKIlKACh",
}

PROBLEM: Final[dict[str, Any]] = {
    "status": 429,
    "title": "Too Many Requests",
    "detail": "Too many registrations from your address.",
    "code": "rate_limited",
    "retryAfterMs": 6000,
}

HEALTH: Final[dict[str, Any]] = {"status": "ok"}

CLAIM: Final = "f49f3cc665af4cb38092af714a4c87fa"

ERROR: Final[dict[str, Any]] = {
    "type": "Error",
    "args": {"code": "already_claimed", "message": "Another agent has this user."},
}

TOO_FAST: Final[dict[str, Any]] = {
    "type": "Error",
    "args": {"code": "rate_limited", "message": "Rate limit exceeded.", "retryAfterMs": 51},
}

HTTP_EXAMPLES: Final[dict[type[Struct], dict[str, Any]]] = {
    messages.RegisteredUser: {"registered": REGISTERED_USER},
    messages.NewUser: {"Nika": NEW_USER},
    messages.RegisteredUserWithToken: {"registered": REGISTERED_USER_WITH_TOKEN},
    messages.Problem: {"refused": PROBLEM},
    messages.Health: {"healthy": HEALTH},
}

MESSAGE_EXAMPLES: Final[dict[type[Struct], dict[str, Any]]] = {
    messages.Join: {
        "User, first": USER_JOIN,
        "Support, first": SUPPORT_JOIN,
        "User again": USER_REJOIN,
        "Support again": SUPPORT_REJOIN,
    },
    messages.NewChatMessage: {"from the User": USER_MESSAGE, "from the Support": SUPPORT_MESSAGE},
    messages.Joined: {"User": USER_JOINED, "Support": SUPPORT_JOINED},
    messages.ChatMessage: {"from the User": USER_ECHO, "from the Support": SUPPORT_ECHO},
    messages.ChatHistory: {"after a refresh": CHAT_HISTORY},
    messages.ChatExpired: {"expired": CHAT_EXPIRED},
    messages.Error: {"a claim that was lost": ERROR, "too fast": TOO_FAST},
    messages.JoinRequest: {"a waiting user": JOIN_REQUEST},
}
"""The examples of each struct, under short names."""
