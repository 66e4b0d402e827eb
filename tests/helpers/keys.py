"""The names that Redis knows with the default settings."""

from live_support.chats.keys import Keys

KEYS = Keys()
