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
from text_lessons import COMMENTS, LABELLED, OFTEN, Opinions, States, make_lessons
from text_readings import MOST, Annotators, WrittenComments, read_comments, read_marks, to_marks
from text_sources import Sources
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
    annoyance = str(KOTE_LABELS.index("짜증"))
    lines = [("7", "하나", f"{joy},{fun}"), ("8", "둘", f"{grief},{anger}"), ("9", "없음", annoyance)]
    comments = to_comments(lines, KOTE_LABELS, KOTE_TO_SIX)
    assert comments.single.tolist() == [0]
    assert comments.six[0, LABELS.index("기쁨")] == 1
    assert comments.six[1].sum() == 1
    assert comments.six[2].sum() == 0


def test_no_written_comment_is_one_kept_for_figures_or_there_twice() -> None:
    comments = read_comments().texts
    assert len(comments) == len(set(comments))
    assert not {*map(letters, comments)} & {letters(sentence.text) for sentence in written_sentences("test")}


def test_every_mark_is_a_digit_and_written_comments_are_after_ones_that_were_read() -> None:
    comments, kote = read_comments(), read_marks("kote")
    assert set(comments.after) <= set(kote)
    for marks in (to_marks([*kote.values()]), to_marks([*read_marks("goemotions").values()]), comments.marks):
        assert marks.shape[1] == len(LABELS)
        assert ((marks >= 0) & (marks <= MOST)).all()


def test_annotators_are_surer_where_more_readers_agree() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, len(LABELS), 300)
    marks = rng.integers(0, 4, (300, len(LABELS))).astype(np.float32)
    marks[np.arange(300), labels] += rng.integers(0, 6, 300)
    faint, strong = Annotators(marks, labels).answer(to_marks(["030000", "090000"]))
    assert faint.sum() == pytest.approx(1.0)
    assert faint.argmax() == strong.argmax() == 1
    assert strong[1] > faint[1] + 0.1


def test_what_is_written_after_a_comment_kept_apart_is_kept_apart_too() -> None:
    one_each = [(str(row), f"글 {row}", str(KOTE_LABELS.index(name))) for row, name in enumerate(KOTE_TO_SIX)]
    sources = Sources.__new__(Sources)
    sources.kote = to_comments(one_each, KOTE_LABELS, KOTE_TO_SIX)
    sources.kote_marks = to_marks(["900000"] * len(one_each))
    sources.translated = to_comments([("dev-0", "번역", "0")], tuple(GOEMOTIONS_TO_SIX), GOEMOTIONS_TO_SIX)
    sources.translated_marks = to_marks(["900000"])
    sources.comments = WrittenComments(["뒤 0", "뒤 1"], to_marks(["900000", "090000"]), ["0", "1"])
    sources.templated, sources.written = (["틀"], [0]), (["쓴 글"], [5])
    known = np.array([0, *range(2, len(one_each))])
    one_label = np.eye(len(LABELS), dtype=np.float32)
    states = States(*(np.full((n, 3), n, np.float32) for n in (len(one_each), 2, 1, 1)))
    states.comments[1] = -1
    lessons = make_lessons(sources, known, Opinions(one_label[[4] * 7], one_label[[2]], one_label[[3]]), states)
    assert lessons.texts == [*(f"글 {row}" for row in known), "번역", "뒤 0", "틀", "쓴 글"]
    assert lessons.six.sum(axis=1) == pytest.approx(1.0)
    assert (lessons.six[np.arange(7), sources.kote.six[known].argmax(axis=1)] >= LABELLED[0] - 1e-6).all()
    assert (lessons.six[:7, 4] >= LABELLED[2]).all()  # what the teacher thinks
    assert lessons.six[7, 2] >= 0.5
    assert lessons.six[8, 3] >= 0.5
    assert (lessons.weights[:, 1] > 0).tolist() == [True] * 7 + [False] * 4  # KOTE's 44 labels
    assert (lessons.weights[:, 2] > 0).tolist() == [False] * 7 + [True] + [False] * 3  # GoEmotions' 28
    assert (lessons.weights[:, 3] > 0).tolist() == [True] * 9 + [False, True]  # what E5 says
    assert lessons.states[:, 0].tolist() == [len(one_each)] * 7 + [1, 2, 0, 1]
    often = [*[OFTEN["kote"]] * 7, OFTEN["translated"], COMMENTS, OFTEN["templated"], 1]
    assert lessons.often == pytest.approx(often)


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
