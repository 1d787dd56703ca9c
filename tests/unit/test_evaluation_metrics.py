from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score

from maeum.evaluation.metrics import LabelScores, figures_of_counts, reliability, risk_coverage, score, summary_figures
from maeum.evaluation.transcripts import character_error_rate, normalise_text, score_transcripts

LABELS = ("a", "b", "c")
# Truth a a b b; given a b b b, so b has precision 2/3.
TRUTH = ["a", "a", "b", "b"]
ROWS = np.array([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.3, 0.6, 0.1], [0.0, 1.0, 0.0]])
NOTHING = np.full(3, np.nan)


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


def test_votes_whose_shares_miss_1_have_a_log_loss() -> None:
    found = score(LABELS, ["a", "b"], np.array([[0.3333, 0.3333, 0.3333], [1, 0, 0]]))
    assert found is not None
    assert found.log_loss > 10


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1, max_size=60))
def test_figures_from_counts_equal_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    true, given_labels = (np.array(side) for side in zip(*pairs, strict=True))
    found = figures_of_counts(confusion_matrix(true, given_labels, labels=range(5)))
    present = np.unique(true)
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
