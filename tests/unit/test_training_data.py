"""What the embedded models are trained on: labels, sentences, and that nothing of a test is among them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speech_text import clean_sentences, letters
from speech_voice import SAMPLE_RATE_HZ, Utterance, character_times
from text_data import GOEMOTIONS_TO_SIX, KOTE_LABELS, KOTE_TO_SIX, LABELS, as_spoken, to_comments
from text_written import written_sentences


def test_no_sentence_kept_for_figures_is_trained_on() -> None:
    train, test = ({letters(sentence.text) for sentence in written_sentences(part)} for part in ("train", "test"))
    assert test
    assert not train & test


def test_written_sentences_are_of_known_labels_and_kinds() -> None:
    sentences = [*written_sentences("train"), *written_sentences("test")]
    assert {sentence.label for sentence in sentences} == set(LABELS)
    assert {sentence.kind for sentence in sentences} == {"comment", "diary"}


def test_tables_of_labels_name_labels() -> None:
    assert set(KOTE_TO_SIX) <= set(KOTE_LABELS)
    assert set(KOTE_TO_SIX.values()) == set(LABELS)
    assert set(GOEMOTIONS_TO_SIX.values()) == set(LABELS)


def test_a_comment_of_several_groups_is_no_example_of_any() -> None:
    joy, fun, grief, anger = (str(KOTE_LABELS.index(name)) for name in ("기쁨", "즐거움/신남", "슬픔", "화남/분노"))
    lines = [("하나", f"{joy},{fun}"), ("둘", f"{grief},{anger}"), ("없음", str(KOTE_LABELS.index("짜증")))]
    comments = to_comments(lines, KOTE_LABELS, KOTE_TO_SIX)
    assert comments.single.tolist() == [0]
    assert comments.six[0, LABELS.index("기쁨")] == 1
    assert comments.six[1].sum() == 1
    assert comments.six[2].sum() == 0


@pytest.mark.parametrize(
    ("line", "sentences"),
    [
        ("오늘 좋았다. 내일도 좋겠다", ["오늘 좋았다.", "내일도 좋겠다."]),
        ("정말? 그래요!!", ["그래요!"]),  # two syllables are too few
        ("iPhone 샀다.", []),  # espeak-ng would spell it
        ("ㅋㅋ 웃기다 정말", []),
        ("열 시에 3번 갔다.", []),
        ("가가가가 이게 뭐야.", []),  # drawn out
    ],
)
def test_sentences_are_what_espeak_reads_as_written(line: str, sentences: Sequence[str]) -> None:
    assert list(clean_sentences(line)) == sentences


def test_what_is_heard_has_no_emoticons_and_no_punctuation() -> None:
    assert as_spoken("아 진짜ㅠㅠ, 좋았다!! ㅋㅋ") == "아 진짜 좋았다"
    assert as_spoken("ㅋㅋㅋ") == "ㅋㅋㅋ"  # nothing else would be left


words = st.lists(st.text("가나다라마", min_size=1, max_size=5), min_size=1, max_size=6)


@given(words, st.lists(st.floats(0.0, 5.0), max_size=6), st.floats(0.1, 5.0))
def test_characters_begin_in_order_and_before_the_end(parts: list[str], starts: list[float], end_s: float) -> None:
    text = " ".join(parts) + "."
    firsts = itertools.accumulate(len(part) + 1 for part in parts)
    times = character_times(text, list(zip(firsts, sorted(starts), strict=False)), end_s)
    assert len(times) == len(text) + 1
    assert (np.diff(times) >= -1e-9).all()
    assert times[0] == 0
    assert times[-1] == pytest.approx(end_s)


@given(words, st.floats(0.0, 1.0))
def test_a_recording_that_stops_holds_what_was_heard_until_then(parts: list[str], share: float) -> None:
    text = ", ".join(parts) + "."
    starts = [0.1 * index for index in range(len(text) + 1)]
    pcm = np.arange(round(starts[-1] * SAMPLE_RATE_HZ)).astype(np.int16)
    end_s = share * starts[-1]
    stopped = Utterance(text, pcm, starts).until(end_s)
    assert text.startswith(stopped.text)
    assert not stopped.text.endswith((",", " ", "."))
    assert stopped.duration_s == pytest.approx(end_s, abs=1e-4)
    assert len(stopped.starts_s) == len(stopped.text) + 1
    assert stopped.starts_s == sorted(stopped.starts_s)
    assert len(letters(stopped.text)) <= round(end_s / 0.1)
