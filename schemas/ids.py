"""What an id is: 128 random bits as 32 lower-case hex digits."""

import re

from schemas.errors import InvalidFrame

is_id = re.compile("[0-9a-f]{32}").fullmatch


def check_ids(*ids: str | None) -> None:
    """Look at ids that a client has sent, where they are not equal to known ones anyway.

    Raises:
        InvalidFrame: one of them is none.
    """
    if not all(id_ is None or is_id(id_) for id_ in ids):
        raise InvalidFrame("An id must be 32 lower-case hex digits.")
