"""Limited amounts that requests share: bytes of uploads and of decoded sound, and decoders at work."""

from __future__ import annotations

import asyncio
from collections import deque

from maeum.errors import StageOverloaded
from maeum.process.cores import available_cores

DEFAULT_SOUND_BYTES = 512 * 1024 * 1024
"""2 h 20 min of sound at 16 kHz in float32."""


class Room:
    """So much at a time; who finds too little waits, first come, first served. Not tied to one event loop.

    Args:
        size: all there is.
    """

    def __init__(self, size: int) -> None:
        self._size = self._free = size
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def take(self, amount: int) -> None:
        """Wait for room and take it; more than there is at all counts as all there is."""
        amount = min(amount, self._size)
        if not self._waiting and amount <= self._free:
            self._free -= amount
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((amount, turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._serve()  # of those behind it
            else:  # it was our turn just now
                self.give(amount)
            raise

    def give(self, amount: int) -> None:
        """Give back what was taken."""
        self._free += min(amount, self._size)
        self._serve()

    def _serve(self) -> None:
        while self._waiting:
            amount, turn = self._waiting[0]
            if not turn.cancelled():
                if amount > self._free:
                    break
                self._free -= amount
                turn.set_result(None)
            self._waiting.popleft()


class UploadRoom:
    """So many bytes of uploads at a time; who finds too little is refused, since waiting would take memory, too.

    Args:
        n_bytes: all there is.
    """

    def __init__(self, n_bytes: int) -> None:
        self.free = n_bytes


class UploadShare:
    """What one upload takes of the room.

    Args:
        room: shared by all uploads.
    """

    def __init__(self, room: UploadRoom) -> None:
        self._room, self._taken = room, 0

    def take(self, n_bytes: int) -> None:
        """Take more.

        Raises:
            StageOverloaded: there is not as much.
        """
        if n_bytes > self._room.free:
            raise StageOverloaded("other uploads take all the memory that there is for them; try again later")
        self._room.free -= n_bytes
        self._taken += n_bytes

    def give_back(self) -> None:
        """Give all of it back; may be called again."""
        self._room.free += self._taken
        self._taken = 0


class SoundRoom:
    """What decoding may take: a small file can hold minutes of silence, and a hundred of them gigabytes of sound.

    Args:
        n_bytes: of decoded sound that is held at a time; a few files beyond it may just be decoded.
    """

    def __init__(self, n_bytes: int = DEFAULT_SOUND_BYTES) -> None:
        self.sound = Room(n_bytes)
        self.decoders = Room(available_cores() + 2)
        self.ffmpeg = Room(available_cores())
