from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from maeum import pieces
from maeum.batching import BatchingStage, join_lists
from maeum.errors import StageFailed
from maeum.pieces import join, transcribe
from maeum.stages import Failure, Segment, SpeechItem, Transcript

RATE_HZ = 16_000


class Listener:
    """Hears one word for every second of a piece, and resumes a second before a piece's end."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, float, bool]] = []

    async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        await asyncio.sleep(0)
        return [self.hear(item) for item in items]

    def hear(self, item: SpeechItem) -> Transcript:
        seconds = len(item.pcm16) // 2 // RATE_HZ
        self.heard.append((item.language, seconds, item.more))
        end = seconds - 1 if item.more else seconds
        segments = tuple(Segment(float(second), second + 1.0, "말.") for second in range(end))
        text = " ".join(segment.text for segment in segments)
        return Transcript(text, segments, ((0.0, float(end)),), resume=end * RATE_HZ if item.more else None)


@pytest.fixture(autouse=True)
def _short_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pieces, "PIECE_S", 4)


def recording(seconds: int) -> bytes:
    return bytes(2 * RATE_HZ * seconds)


@pytest.mark.parametrize("seconds", [1, 4, 5, 7, 8, 13])
def test_every_second_is_heard_once_and_in_its_place(seconds: int) -> None:
    transcript = asyncio.run(transcribe(Listener(), recording(seconds), "ko"))
    assert [segment.start_s for segment in transcript.segments] == list(range(seconds))
    assert transcript.text == " ".join(["말."] * seconds)
    assert sum(end - start for start, end in transcript.speech_spans) == seconds
    assert transcript.resume is None


def test_a_recording_of_one_piece_is_sent_as_it_is() -> None:
    listener = Listener()
    asyncio.run(transcribe(listener, recording(4), "ko"))
    assert listener.heard == [("ko", 4, False)]


def test_a_failed_piece_fails_the_recording() -> None:
    class Deaf:
        async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
            return [Failure("speech_failed", "no")]

    with pytest.raises(StageFailed, match="no"):
        asyncio.run(transcribe(Deaf(), recording(9), "ko"))


def test_short_recordings_go_in_between_the_pieces_of_a_long_one() -> None:
    listener = Listener()

    async def one_at_a_time(items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        return await listener.run(items)

    async def main() -> list[str]:
        stage = BatchingStage[Sequence[SpeechItem], Transcript](one_at_a_time, merge=join_lists, max_weight=1)
        done: list[str] = []

        async def send(name: str, seconds: int) -> None:
            await transcribe(stage, recording(seconds), "ko")
            done.append(name)

        async with asyncio.TaskGroup() as group:
            group.create_task(send("long", 31))
            group.create_task(send("short", 1))
            group.create_task(send("other", 2))
        return done

    assert asyncio.run(main()) == ["short", "other", "long"]
    assert [seconds for _, seconds, _ in listener.heard[:4]] == [4, 1, 2, 4]


def test_the_language_heard_for_longest_counts() -> None:
    parts = [
        (0.0, Transcript("하나", speech_spans=((0.0, 3.0),), heard_language=("ko", 0.9))),
        (4.0, Transcript("", heard_language=None)),
        (8.0, Transcript("two", speech_spans=((0.0, 1.0),), heard_language=("en", 0.97))),
    ]
    joined = join(parts)
    assert joined.text == "하나 two"
    assert joined.heard_language is not None
    assert joined.heard_language[0] == "ko"
    assert joined.heard_language[1] == pytest.approx(0.675)
    assert join([parts[1], parts[1]]).heard_language is None
