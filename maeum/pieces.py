"""Long recordings go to the speech stage a piece at a time, so that those of others go in between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.stages import SpeechItem, Stage, Transcript, good

PIECE_S = 120
"""About four windows: what anybody else waits for, and what a long recording takes in memory at most."""


async def transcribe(stage: Stage[Sequence[SpeechItem], Transcript], pcm16: bytes, language: str) -> Transcript:
    """Transcribe a recording of any length.

    The stage says where it stopped in a piece, at the beginning of a window, and the next piece begins there: no word
    is torn and no window is decoded for half its worth.

    Args:
        stage: the speech stage.
        pcm16: mono little-endian 16-bit PCM at 16 kHz.
        language: code.

    Raises:
        StageFailed: the model could not handle this recording.
    """
    parts: list[tuple[float, Transcript]] = []
    start = 0  # in samples
    while True:
        end = start + PIECE_S * SAMPLE_RATE_HZ
        item = SpeechItem(pcm16[2 * start : 2 * end], language, more=2 * end < len(pcm16))
        transcript = good((await stage.run([item]))[0])
        parts.append((start / SAMPLE_RATE_HZ, transcript))
        if transcript.resume is None:
            return join(parts)
        start += transcript.resume


def join(parts: Sequence[tuple[float, Transcript]]) -> Transcript:
    """One transcript of several, each with the time in seconds at which its piece begins.

    The language heard is the likeliest over all of them, by how long somebody speaks in each. Of every piece only its
    likeliest is known: the others count as not heard there.
    """
    if len(parts) == 1:
        return replace(parts[0][1], resume=None)
    segments = tuple(
        replace(segment, start_s=segment.start_s + start_s, end_s=segment.end_s + start_s)
        for start_s, part in parts
        for segment in part.segments
    )
    spans = tuple((begin + start_s, end + start_s) for start_s, part in parts for begin, end in part.speech_spans)
    return Transcript(
        " ".join(part.text for _, part in parts if part.text),
        segments,
        spans,
        _heard_language([part for _, part in parts]),
    )


def _heard_language(parts: Sequence[Transcript]) -> tuple[str, float] | None:
    heard: dict[str, float] = defaultdict(float)
    spoken_s = 0.0
    for part in parts:
        if part.heard_language is not None:
            language, probability = part.heard_language
            length_s = sum(end - begin for begin, end in part.speech_spans)
            heard[language] += probability * length_s
            spoken_s += length_s
    if not spoken_s:
        return None
    likeliest = max(heard, key=heard.__getitem__)
    return likeliest, heard[likeliest] / spoken_s
