"""Ids: 128 random bits as 32 lower-case hex digits."""

import re

from schemas.errors import InvalidFrame

is_id = re.compile("[0-9a-f]{32}").fullmatch


def check_ids(*ids: str | None) -> None:
    """Check the form of ids from a client, where they were not found equal to known ones.

    Raises:
        InvalidFrame: one of them is not an id.
    """
    if not all(id_ is None or is_id(id_) for id_ in ids):
        raise InvalidFrame("An id must be 32 lower-case hex digits.")
