"""Decoding in threads and processes beside the event loop, as many at once as there is room for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor
from typing import TypeVar

from maeum.audio.decoding import Waveform, decode_here, decode_with_ffmpeg
from maeum.audio.ffmpeg_process import threads
from maeum.room import Room, SoundRoom

Decoded = TypeVar("Decoded", bound=Waveform | None)


async def decode_upload(data: bytes, max_duration_s: float, room: SoundRoom) -> Waveform:
    """Decode a file as `maeum.audio.decoding.decode` does; files that hold FFmpeg up hold up none that need no FFmpeg.

    Returns:
        The sound, whose bytes are taken from `room.sound`; the caller gives them back.
    """
    waveform = await _decode_in_thread(room, room.decoders, None, decode_here, data, max_duration_s)
    if waveform is None:
        waveform = await _decode_in_thread(room, room.ffmpeg, threads(), decode_with_ffmpeg, data, max_duration_s)
    return waveform


async def _decode_in_thread(
    room: SoundRoom,
    decoders: Room,
    executor: Executor | None,
    decode: Callable[[bytes, float], Decoded],
    data: bytes,
    max_duration_s: float,
) -> Decoded:
    """Decode in a thread, and find room for the sound, if there is any; until then nobody else decodes in its place."""
    await decoders.take(1)
    decoding = asyncio.get_running_loop().run_in_executor(executor, decode, data, max_duration_s)
    try:
        waveform = await asyncio.shield(decoding)
        if waveform is not None:
            await room.sound.take(waveform.samples.nbytes)
        return waveform
    finally:
        if decoding.done():
            decoders.give(1)
        else:  # a thread that nobody waits for any more works on until it ends
            decoding.add_done_callback(lambda _: decoders.give(1))
