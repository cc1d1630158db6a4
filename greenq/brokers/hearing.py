"""What is said inside one process: everybody who listens hears it at once."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

from greenq.radio import Post, Radio, ReplyBox
from pools import native
from pools.bell import Bell

__all__ = ["MemoryRadio"]


class Room:
    """What the radios of one name share."""

    def __init__(self) -> None:
        self.lock = native.Lock()
        self.ears: dict[int, tuple[str, str, Callable[[Post], None]]] = {}
        """By number, exchange, beginning of the key, and who hears it."""
        self.members: dict[str, float] = {}
        self.numbers = 0

    def add(self, exchange: str, key: str, heard: Callable[[Post], None]) -> int:
        """Let somebody hear an exchange; the number to stop that with."""
        with self.lock:
            self.numbers += 1
            self.ears[self.numbers] = exchange, key, heard
            return self.numbers

    def say(self, post: Post) -> None:
        """Let all hear it that listen."""
        for exchange, key, heard in list(self.ears.values()):
            if exchange == post.exchange and (not key or f"{post.key}.".startswith(f"{key}.")):
                heard(post)


_rooms: dict[str, Room] = {}


class MemoryRadio(Radio):
    """Says and hears things inside this process.

    Parameters:
        name: radios of the same name hear each other.
    """

    remembers = True

    def __init__(self, name: str) -> None:
        self._room = _rooms.setdefault(name, Room())
        self._own: list[int] = []

    def announce(self, posts: Sequence[Post], timeout: float) -> None:
        for post in posts:
            self._room.say(post)

    publish_events = reply = announce

    def listen(self, exchange: str, node: str, heard: Callable[[Post], None]) -> None:
        self._own.append(self._room.add(exchange, "", heard))

    def follow(self, exchange: str, node: str, key: str, heard: Callable[[Post], None]) -> None:
        self._own.append(self._room.add(exchange, key, heard))

    def box(self, exchange: str, key: str, timeout: float) -> ReplyBox:
        return MemoryBox(self._room, exchange, key)

    def remember(self, members: Sequence[str], seconds: float, most: int, timeout: float) -> None:
        with self._room.lock:
            for member in members:
                self._room.members.pop(member, None)
                self._room.members[member] = time.monotonic()
            while len(self._room.members) > most:
                del self._room.members[next(iter(self._room.members))]

    def remembered(self, seconds: float, timeout: float) -> list[str]:
        oldest = time.monotonic() - seconds
        with self._room.lock:
            return [member for member, at in self._room.members.items() if at >= oldest]

    def close(self) -> None:
        with self._room.lock:
            for number in self._own:
                self._room.ears.pop(number, None)


class MemoryBox(ReplyBox):
    """Hears one key."""

    def __init__(self, room: Room, exchange: str, key: str) -> None:
        self._room = room
        self._posts: deque[Post] = deque()
        self._bell = Bell()
        self._number = room.add(exchange, key, self._heard)

    def _heard(self, post: Post) -> None:
        self._posts.append(post)
        self._bell.ring()

    def next(self, timeout: float) -> Post | None:
        deadline = time.monotonic() + timeout
        while not self._posts:
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            self._bell.wait(left)
        return self._posts.popleft()

    def close(self) -> None:
        with self._room.lock:
            self._room.ears.pop(self._number, None)
