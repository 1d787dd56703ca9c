from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.errors import ModelInvalid
from maeum.evidence import confidence, is_invented, read_low_confidence, syllables_per_second, warnings
from maeum.stages import Segment, Transcript

THANKS = "시청해주셔서 감사합니다."
KNOWN = [
    THANKS,
    "시청해 주셔서 감사합니다!",
    "오늘도 시청해주셔서 감사합니다. 다음 영상에서 만나요.",
    "구독과 좋아요 부탁드립니다.",
    "MBC 뉴스 이덕영입니다.",
    "MBC뉴스 김수근이었습니다.",
    "KBS 뉴스",
    "한글자막 by 한효정",
    "이 시각 세계였습니다.",
]
SAID = [
    "오늘은 좋았다.",
    "친구에게 감사합니다 하고 말했다.",
    "저녁에 뉴스를 봤는데 마음이 무거웠다.",
    "아무도 구독해 주지 않아서 속상했다.",
]


def segment(
    text: str = "오늘은 좋았다.", logprob: float = -0.2, no_speech: float = 0.01, ratio: float = 0.9
) -> Segment:
    return Segment(0, 2, text, logprob, no_speech, ratio)


@pytest.mark.parametrize("text", KNOWN + SAID)
def test_what_the_evidence_supports_was_said(text: str) -> None:
    assert not is_invented(segment(text), 6.0)


@pytest.mark.parametrize("text", KNOWN)
@pytest.mark.parametrize(
    ("evidence", "pace"),
    [
        ({"no_speech": 0.4}, 6.0),  # surer of the phrase than of there being speech
        ({"logprob": -1.2}, 6.0),
        ({"ratio": 3.0}, 6.0),
        ({}, 11.0),  # a click
    ],
)
def test_one_doubt_is_enough_for_a_known_phrase(text: str, evidence: dict[str, float], pace: float) -> None:
    assert is_invented(segment(text, **evidence), pace)
    assert not is_invented(segment("좋았다.", **evidence), pace)


@pytest.mark.parametrize("text", [*SAID, "Thanks for watching!"])
@pytest.mark.parametrize("evidence", [{"logprob": -1.2}, {"ratio": 3.0}])
def test_other_words_need_silence_and_a_doubt(text: str, evidence: dict[str, float]) -> None:
    assert is_invented(segment(text, no_speech=0.7, **evidence), 6.0)
    assert not is_invented(segment(text, no_speech=0.5, **evidence), 6.0)
    assert not is_invented(segment(text, no_speech=0.7), 6.0)


def test_what_is_unlikely_of_a_model_that_was_measured_is_its_own() -> None:
    doubtful = segment("아니,", logprob=-0.66, no_speech=0.94)
    assert is_invented(doubtful, 2.0, low_confidence=0.66)
    assert not is_invented(doubtful, 2.0)
    assert not is_invented(segment("아니,", logprob=-0.66, no_speech=0.5), 2.0, low_confidence=0.66)
    assert not is_invented(doubtful, 2.0, low_confidence=0.0)


def test_nobody_speaks_twenty_syllables_in_a_second() -> None:
    long = segment("오늘은 친구를 만나서 점심을 먹고 한참 이야기했다.", no_speech=0.7)
    assert is_invented(long, syllables_per_second([long], 1.0))
    assert not is_invented(long, syllables_per_second([long], 4.0))


def test_a_loop_ten_times_as_fast_as_speech_was_not_said_however_sure_the_model_is() -> None:
    loop = segment("으" * 222, logprob=-0.03, no_speech=0.003, ratio=37.7)
    assert is_invented(loop, syllables_per_second([loop], 0.53))
    assert not is_invented(loop, syllables_per_second([loop], 5.0))  # of speech, badly heard: doubtful
    assert not is_invented(segment("하" * 12, ratio=2.6), 6.0)  # a laugh
    assert not is_invented(segment("가나다라" * 6, ratio=1.2), 120.0)  # no loop


def test_the_pace_counts_hangul_over_all_segments() -> None:
    assert syllables_per_second([segment("가 나다, ok 12"), segment("라")], 2.0) == 2.0
    assert syllables_per_second([], 0.0) == 0.0


@given(st.lists(st.tuples(st.text(min_size=1), st.floats(-20, 0)), min_size=1))
def test_confidence_lies_between_those_of_the_segments(rows: list[tuple[str, float]]) -> None:
    sure = confidence([segment(text, logprob) for text, logprob in rows])
    logprobs = [logprob for _, logprob in rows]
    assert sure is not None
    assert math.exp(min(logprobs)) * 0.999999 <= sure <= math.exp(max(logprobs)) * 1.000001


def test_confidence_counts_by_length_and_not_at_all_without_words() -> None:
    assert confidence([]) is None
    assert confidence([segment("가" * 9, -1.0), segment("가", -2.0)]) == pytest.approx(math.exp(-1.1))


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (Transcript("a", (segment(),)), ()),
        (Transcript("a", (segment(logprob=-0.8),)), ("low_confidence",)),
        (Transcript("a", (segment(ratio=2.5),)), ("low_confidence",)),
        (Transcript("a"), ()),
        (Transcript("a", (segment(),), heard_language=("ko", 0.9)), ()),
        (Transcript("a", (segment(),), heard_language=("en", 0.55)), ()),
        (Transcript("a", (segment(),), heard_language=("en", 0.6)), ("unexpected_language",)),
        (
            Transcript("a", (segment(logprob=-2),), heard_language=("ja", 0.9)),
            ("low_confidence", "unexpected_language"),
        ),
    ],
)
def test_warnings_follow_from_the_evidence(transcript: Transcript, expected: tuple[str, ...]) -> None:
    assert warnings(transcript, "ko", 0.5) == expected


def test_a_model_without_thresholds_has_whispers(tmp_path: Path) -> None:
    assert read_low_confidence(tmp_path) == pytest.approx(math.exp(-1))


def test_a_models_own_threshold_wins(tmp_path: Path) -> None:
    (tmp_path / "thresholds.json").write_text(json.dumps({"low_confidence": 0.61, "measured": "somehow"}))
    assert read_low_confidence(tmp_path) == 0.61


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{}", "\xff", "{" * 5000, '{"low_confidence": "0.5"}', '{"low_confidence": 2}'),
        *('{"low_confidence": true}', '{"low_confidence": NaN}'),
    ],
)
def test_thresholds_that_make_no_sense_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "thresholds.json").write_bytes(content.encode("latin-1"))
    with pytest.raises(ModelInvalid, match=r"thresholds\.json"):
        read_low_confidence(tmp_path)


@pytest.mark.parametrize("loop", ["MBC 뉴스 이덕영입니다. ", "SBS 뉴스입니다 ", "한글자막 by 한효정 "])
@pytest.mark.parametrize("end", ["", "오늘은 비가 와서 우산을 쓰고 걸었다"])
def test_a_known_phrase_in_a_loop_is_seen_through_in_little_time(loop: str, end: str) -> None:
    """Whisper fills a whole window with one; a pattern of repeated phrases would take hours for it."""
    assert is_invented(segment(loop * 60 + end, no_speech=0.5), 5.0) is (end == "")


def test_a_lone_syllable_counts_only_where_the_model_hears_speech() -> None:
    assert not is_invented(segment("네.", logprob=-0.3, no_speech=0.5), 2.0)
    assert is_invented(segment("아,", logprob=-0.3, no_speech=0.9), 2.0)
    assert not is_invented(segment("아니,", logprob=-0.3, no_speech=0.9), 4.0)
