from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from maeum.evaluation import metrics, transcripts
from maeum.evaluation.intervals import interval, number_groups, resample
from maeum.evaluation.metrics import (
    LabelScores,
    Scores,
    difference,
    figures_of_counts,
    reliability,
    risk_coverage,
    summary_figures,
)
from maeum.evaluation.transcripts import TranscriptScores, character_error_rate, normalise_text

LABELS = ("a", "b", "c")
# Truth a a b b; given a b b b, so b has precision 2/3.
TRUTH = ["a", "a", "b", "b"]
ROWS = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0]])
NOTHING = np.full(3, np.nan)


def score(labels: Sequence[str], truth: Sequence[str], rows: NDArray[np.float64]) -> Scores | None:
    return metrics.score(labels, truth, rows, range(len(truth)))


def score_transcripts(
    said: Sequence[str], heard: Sequence[str], confidences: Sequence[float | None]
) -> TranscriptScores | None:
    return transcripts.score_transcripts(said, heard, confidences, range(len(said)))


def test_four_clips_by_hand() -> None:
    found = score(LABELS, TRUTH, ROWS)
    assert found is not None
    assert (found.n_clips, found.n_abstained) == (4, 0)
    assert found.accuracy.value == 0.75
    assert found.uar.value == pytest.approx((0.5 + 1) / 2)
    assert found.macro_f1.value == pytest.approx((2 / 3 + 0.8) / 2)  # c is nobody's truth
    assert found.per_label["b"].precision == pytest.approx(2 / 3)
    assert found.per_label["a"].recall == 0.5
    assert found.per_label["c"].n_clips == 0
    assert found.confusion == [[1, 1, 0], [0, 2, 0], [0, 0, 0]]
    assert found.log_loss == pytest.approx(-np.log([0.9, 0.2, 0.6, 1.0]).mean())
    # Bins of .5 to .6, .7 to .8, .8 to .9 and .9 to 1, one clip each.
    assert found.ece == pytest.approx((abs(1 - 0.6) + abs(0 - 0.8) + abs(1 - 0.9) + abs(1 - 1.0)) / 4)
    assert [one.n_clips for one in found.reliability] == [1, 1, 1, 1]
    # Most confident first: right, right, wrong, right.
    assert found.coverage == [0.25, 0.5, 0.75, 1.0]
    assert found.risk == pytest.approx([0, 0, 1 / 3, 1 / 4])
    assert found.aurc == pytest.approx((1 / 3 + 1 / 4) / 4)
    for figure in (found.accuracy, found.macro_f1, found.uar):
        assert figure.low is not None
        assert figure.high is not None
        assert 0 <= figure.low <= figure.value <= figure.high <= 1


def test_a_clip_without_a_vector_is_in_no_figure() -> None:
    found = score(LABELS, [*TRUTH, "c"], np.vstack([ROWS, NOTHING]))
    expected = score(LABELS, TRUTH, ROWS)
    assert found is not None
    assert expected is not None
    assert found == replace(expected, n_abstained=1)
    assert score(LABELS, ["a", "b"], np.array([NOTHING, NOTHING])) is None


def test_a_label_without_clips_has_no_recall_and_one_never_given_no_precision() -> None:
    found = score(LABELS, ["a", "b"], np.array([[0.9, 0.1, 0.0], [0.8, 0.2, 0.0]]))
    assert found is not None
    assert found.per_label["a"].f1 == pytest.approx(2 / 3)
    assert (found.per_label["a"].precision, found.per_label["a"].recall) == (0.5, 1.0)
    assert found.per_label["b"] == LabelScores(None, 0.0, 0.0, 1)
    assert found.per_label["c"] == LabelScores(None, None, None, 0)


def test_one_clip_has_no_interval() -> None:
    found = score(LABELS, ["a"], ROWS[:1])
    assert found is not None
    assert (found.accuracy.value, found.accuracy.low, found.accuracy.high) == (1, None, None)


def test_a_resample_without_a_label_says_nothing_of_the_mean_over_labels() -> None:
    truth = ["a"] * 100 + ["b"] * 2
    found = score(LABELS, truth, np.repeat(ROWS[:1], 102, axis=0))  # all taken for a
    assert found is not None
    assert found.uar.value == 0.5
    assert (found.uar.low, found.uar.high) == (None, None)  # the mean over a alone would be 1
    assert found.macro_f1.high is not None
    assert found.macro_f1.high < 0.5
    assert found.accuracy.high == 1


def test_votes_whose_shares_miss_1_have_a_log_loss() -> None:
    found = score(LABELS, ["a", "b"], np.array([[0.3333, 0.3333, 0.3333], [1, 0, 0]]))
    assert found is not None
    assert found.log_loss > 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
def test_figures_from_counts_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, given_labels = (np.array(side) for side in zip(*pairs, strict=True))
    present = np.unique(true)
    counts = confusion_matrix(true, given_labels, labels=range(5))
    found = figures_of_counts(counts, np.isin(range(5), present))
    expected = (
        (true == given_labels).mean(),
        f1_score(true, given_labels, labels=present, average="macro", zero_division=0),
        np.mean([(given_labels[true == label] == label).mean() for label in present]),
    )
    assert found == pytest.approx(expected)
    assert summary_figures(true, given_labels) == pytest.approx(expected)
    if len(present) > 1 and set(given_labels) <= set(true):
        assert expected[2] == pytest.approx(balanced_accuracy_score(true, given_labels))


@given(st.lists(st.tuples(st.booleans(), st.floats(0.01, 1)), min_size=1, max_size=60))
def test_properties_of_calibration_and_risk(answers: list[tuple[bool, float]]) -> None:
    right, confidence = (np.array(side) for side in zip(*answers, strict=True))
    ece, bins = reliability(right, confidence)
    assert 0 <= ece <= 1
    assert ece >= abs(right.mean() - confidence.mean()) - 1e-9  # bins cannot hide the total
    assert sum(one.n_clips for one in bins) == len(right)
    coverage, risk, aurc = risk_coverage(right, confidence)
    assert coverage == sorted(coverage)
    assert coverage[-1] == 1
    assert risk[-1] == pytest.approx(1 - right.mean())
    assert 0 <= aurc <= 1


def test_equal_confidence_has_one_point_whatever_the_order() -> None:
    first = risk_coverage(np.array([True, False]), np.array([0.5, 0.5]))
    second = risk_coverage(np.array([False, True]), np.array([0.5, 0.5]))
    assert first == second == ([1.0], [0.5], 0.5)


# intervals


def test_clips_that_are_all_right_say_nothing_of_how_rare_errors_are() -> None:
    found = score(LABELS, ["a", "b"] * 20, np.array([[1.0, 0, 0], [0, 1.0, 0]] * 20))
    assert found is not None
    for figure in (found.accuracy, found.macro_f1, found.uar):
        assert (figure.value, figure.low, figure.high) == (1, None, None)


def test_speakers_are_drawn_with_all_their_clips() -> None:
    # One half of the speakers is always right, the other always wrong: ten clips of each say no more than one.
    speakers = np.repeat(np.arange(10), 10)
    truth, rows = ["a"] * 100, np.where(speakers[:, None] % 2, [[0.9, 0.1, 0]], [[0.1, 0.9, 0]])
    by_clip, by_speaker = (metrics.score(LABELS, truth, rows, groups) for groups in (range(100), speakers.tolist()))
    one_each = metrics.score(LABELS, truth[::10], rows[::10], range(10))
    assert by_clip is not None
    assert by_speaker is not None
    assert one_each is not None
    assert by_clip.accuracy.value == by_speaker.accuracy.value == 0.5
    assert by_speaker.accuracy == one_each.accuracy
    assert by_clip.accuracy.low is not None
    assert by_speaker.accuracy.low is not None
    assert by_clip.accuracy.low > by_speaker.accuracy.low + 0.1


def test_error_rates_are_drawn_by_speaker_too() -> None:
    said, heard = ["가나다라"] * 40, ["가나다라", "마바사아"] * 20
    speakers = ["조용한 이", "시끄러운 이"] * 20
    found = [transcripts.score_transcripts(said, heard, [0.5] * 40, groups) for groups in (range(40), speakers)]
    by_clip, by_speaker = (one.cer for one in found if one is not None)
    assert by_clip.value == by_speaker.value == 0.5
    assert (by_speaker.low, by_speaker.high) == (0, 1)
    assert by_clip.low is not None
    assert by_clip.low > 0.3


@given(st.lists(st.integers(0, 4), min_size=1, max_size=30), st.integers(1, 8))
def test_as_many_groups_are_drawn_as_there_are(values: list[int], n_groups: int) -> None:
    groups = number_groups([index % n_groups for index in range(len(values))])
    drawn = resample(np.array([[value, 1] for value in values]), groups)
    sizes = np.bincount(groups)
    assert drawn.shape == (1000, 2)
    assert (drawn[:, 1] >= sizes.min() * len(sizes)).all()
    assert (drawn[:, 1] <= sizes.max() * len(sizes)).all()


def test_an_interval_holds_the_middle_of_the_resamples() -> None:
    found = interval(0.5, np.arange(1000) / 1000)
    assert (found.low, found.high) == pytest.approx((0.025, 0.975), abs=0.002)


def test_two_ways_are_compared_on_the_same_clips() -> None:
    # Both are right in half of all clips, but one in the other's half as well.
    truth = ["a", "a", "b", "b"] * 10
    one = np.array([[1.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 0, 0]] * 10)
    other = np.array([[1.0, 0, 0], [0, 1, 0], [0, 1, 0], [1, 0, 0]] * 10)
    found = difference(LABELS, truth, one, other, range(40))
    assert found is not None
    assert (found.n_clips, found.accuracy.value, found.uar.value) == (40, 0.25, 0.25)
    assert found.accuracy.low is not None
    assert found.accuracy.high is not None
    assert 0 < found.accuracy.low < 0.25 < found.accuracy.high
    same = difference(LABELS, truth, one, one, range(40))
    assert same is not None
    assert (same.accuracy.value, same.accuracy.low) == (0, None)


def test_a_clip_that_one_way_does_not_answer_is_in_no_difference() -> None:
    found = difference(LABELS, [*TRUTH, "c"], np.vstack([ROWS, NOTHING]), np.vstack([ROWS, [0, 0, 1.0]]), range(5))
    assert found is not None
    assert (found.n_clips, found.accuracy.value) == (4, 0)
    assert difference(LABELS, ["a"], ROWS[:1], NOTHING[np.newaxis], range(1)) is None


# transcripts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3.5점, 1,000원", "3.5점 1000원"),
        ("갔다,왔다…그리고", "갔다 왔다 그리고"),
        ("don't", "dont"),
        ("２０점！ＡＢ", "20점 AB"),
        ("끝. 3", "끝 3"),
        ("1,2,3", "1 2 3"),
        ("2019,2020년", "2019 2020년"),
        ("1,234,567", "1234567"),
        ("“안녕”이라고, 30%가 (주)회사", "안녕이라고 30가 주회사"),
    ],
)
def test_numbers_keep_their_points_and_words_their_borders(text: str, expected: str) -> None:
    assert normalise_text(text) == expected


def test_normalisation_is_as_documented() -> None:
    decomposed = "\u1112\u1161\u11ab"  # 한, letter by letter
    assert normalise_text(f"  {decomposed}국, “말”!\n 그래? ") == "한국 말 그래"
    assert normalise_text("안녕~ 그래요^^ 좋아❤️😊👍🏽 ★끝") == "안녕 그래요 좋아 끝"
    assert normalise_text("\ufeff안녕\u200b하세요") == "안녕하세요"
    assert normalise_text("3~4시, 5～6시, 1 + 1 = 2") == "3 4시 5 6시 1 + 1 = 2"


def test_error_rates_by_hand() -> None:
    # 4 + space + 2 characters: one wrong, one missing. And a clip where nothing was heard.
    found = score_transcripts(["가나다라 마바.", "하하"], ["가나다라 마비", ""], [0.5, None])
    assert found is not None
    assert (found.n_clips, found.n_empty) == (2, 1)
    assert found.cer.value == pytest.approx(3 / 9)
    assert found.cer_without_spaces.value == pytest.approx(3 / 8)
    assert found.wer.value == pytest.approx(2 / 3)
    assert found.cer.low is not None
    assert found.cer.high is not None
    assert found.cer.low <= found.cer.value <= found.cer.high


def test_the_surest_transcripts_come_first() -> None:
    found = score_transcripts(["가나다라", "마바사아", "자차카타"], ["가나", "마바사아", ""], [0.6, 0.9, None])
    assert found is not None
    assert found.coverage == pytest.approx([1 / 3, 2 / 3, 1])
    assert found.risk == pytest.approx([0, 2 / 8, 6 / 12])
    assert found.risk[-1] == found.cer.value


def test_spaces_count_only_in_one_of_the_two() -> None:
    found = score_transcripts(["오늘 은 좋다"], ["오늘은 좋다"], [0.9])
    assert found is not None
    assert found.cer.value == pytest.approx(1 / 7)
    assert found.cer_without_spaces.value == 0
    assert found.cer.low is None


def test_a_reference_of_punctuation_is_no_reference() -> None:
    assert score_transcripts(["…!", "?"], ["말", "말"], [0.9, 0.9]) is None
    assert character_error_rate("…", "말") is None
    assert character_error_rate("말.", "말") == 0


@given(st.lists(st.text("가나다 라", min_size=1, max_size=8), min_size=1, max_size=6))
def test_what_was_said_has_no_errors(texts: list[str]) -> None:
    found = score_transcripts(texts, texts, [0.5] * len(texts))
    assert found is None or (found.cer.value, found.wer.value) == (0, 0)
