"""Buffer: what was read and the caller has not taken yet."""

import asyncio
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Buffer(Generic[Item]):
    """A queue whose ends may wait for each other. The reader asks for room itself, since it does not always need it."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._arrived = asyncio.Event()
        self._room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: Item) -> None:
        """Add an item."""
        self._items.append(item)
        self._arrived.set()

    def pop(self) -> Item:
        """Take the oldest item."""
        item = self._items.popleft()
        self._room.set()
        return item

    def wake_caller(self) -> None:
        """Let who waits for an item look again."""
        self._arrived.set()

    def wake_reader(self) -> None:
        """Let who waits for room look again."""
        self._room.set()

    async def arrival(self) -> None:
        """Wait until something may have come."""
        self._arrived.clear()
        await self._arrived.wait()

    async def room(self) -> None:
        """Wait until there may be room."""
        self._room.clear()
        await self._room.wait()
