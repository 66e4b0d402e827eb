"""The names that Redis knows with the default settings."""

from core.keys import Keys

KEYS = Keys()
