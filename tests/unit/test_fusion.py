from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from maeum.errors import InvalidConfiguration, UnknownLabel
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection, normalise, vote

Array = NDArray[np.float64]

# The reference's step 5 once more, by name, so that a slip of a row or a column in the code cannot hide.
A = {
    "ANGRY": {"분노": 1.0, "상처": 0.2},
    "SAD": {"상처": 0.6, "슬픔": 1.0},
    "DISGUST": {"상처": 0.2},
    "HAPPY": {"기쁨": 1.0},
    "FEAR": {"당황": 0.3, "불안": 0.8},
    "SURPRISE": {"당황": 0.7, "불안": 0.2},
}
B = {
    "기쁨": {"HAPPY": 1.0},
    "당황": {"HAPPY": 0.2, "FEAR": 0.2, "SURPRISE": 0.7},
    "분노": {"ANGRY": 0.8, "DISGUST": 0.3},
    "불안": {"FEAR": 0.8, "SURPRISE": 0.3},
    "상처": {"ANGRY": 0.2, "SAD": 0.2, "DISGUST": 0.7},
    "슬픔": {"SAD": 0.8},
}


def n(vector: Array) -> Array:
    vector = np.minimum(np.maximum(vector, 1e-12), 1)
    return np.asarray(vector / np.sum(vector))


def step_5(text: dict[str, float] | None, voice: dict[str, float], w_text: float, w_voice: float) -> dict[str, float]:
    a = np.array([[A[en].get(ko, 0.0) for ko in KO_LABELS] for en in EN_LABELS])
    b = np.array([[B[ko].get(en, 0.0) for en in EN_LABELS] for ko in KO_LABELS])
    heard = n(np.array([voice[label] for label in EN_LABELS]))
    if text is None:
        mixed = n(heard)
    else:
        read = n(a @ n(np.array([text[label] for label in KO_LABELS])))
        mixed = n(w_text * read + w_voice * heard)
    return dict(zip(KO_LABELS, n(b @ mixed).tolist(), strict=True))


def simplex(n_entries: int) -> st.SearchStrategy[tuple[float, ...]]:
    """Non-negative entries with sum 1, zeros and ones among them."""
    entry = st.floats(0, 1, allow_subnormal=False)
    return (
        st.lists(entry, min_size=n_entries, max_size=n_entries)
        .filter(lambda entries: sum(entries) > 1e-3)
        .map(lambda entries: tuple(value / sum(entries) for value in entries))
    )


def fuse(
    text: tuple[float, ...] | None, voice: tuple[float, ...], text_weight: float = 0.7, voice_weight: float = 0.3
) -> Array:
    fusion = Fusion(Projection(), KO_LABELS, EN_LABELS, text_weight, voice_weight)
    return fusion.fuse(None if text is None else np.array(text), np.array(voice))


# normalise


def test_normalise_clips_and_divides() -> None:
    assert normalise(np.array([0.2, 0.6])) == pytest.approx([0.25, 0.75])
    assert normalise(np.array([3.0, 1.0])) == pytest.approx([0.5, 0.5])
    assert normalise(np.array([-1.0, 1.0])) == pytest.approx([1e-12, 1.0])
    assert normalise(np.zeros(4)) == pytest.approx([0.25] * 4)


@given(st.lists(st.floats(-10, 10), min_size=1, max_size=9))
def test_normalise_gives_a_distribution_without_zeros(entries: list[float]) -> None:
    result = normalise(np.array(entries))
    assert result.sum() == pytest.approx(1, abs=1e-12)
    assert (result > 0).all()
    assert result == pytest.approx(n(np.array(entries)), abs=1e-15)


# vote


def test_votes_are_rounded_to_a_hundredth_of_a_percent() -> None:
    one_of_three = vote([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]], 2)
    assert one_of_three.tolist() == pytest.approx([0.3333, 0.6667], abs=1e-15)


def test_each_sentence_counts_once_however_sure() -> None:
    assert vote([[0.34, 0.33, 0.33], [0.0, 0.0, 1.0]], 3).tolist() == [0.5, 0.0, 0.5]


def test_a_tie_goes_to_the_first_label() -> None:
    assert vote([[0.5, 0.5]], 2).tolist() == [1.0, 0.0]


@given(st.lists(simplex(6), min_size=1, max_size=40))
def test_votes_are_shares(probabilities: list[tuple[float, ...]]) -> None:
    shares = vote(probabilities, 6)
    counts = [0] * 6
    for row in probabilities:
        counts[row.index(max(row))] += 1
    assert shares == pytest.approx([count / len(probabilities) for count in counts], abs=5.0001e-5)
    assert shares.sum() == pytest.approx(1, abs=3.1e-4)


# fuse


def test_joy_in_words_and_voice_by_hand() -> None:
    # fused_en is HAPPY alone; its column of B is 1.0 for 기쁨 and 0.2 for 당황.
    assert fuse((1, 0, 0, 0, 0, 0), (0, 0, 0, 1, 0, 0)) == pytest.approx([1 / 1.2, 0.2 / 1.2, 0, 0, 0, 0], abs=1e-9)


def test_hurt_in_words_and_anger_in_the_voice_by_hand() -> None:
    # A · 상처 = .2 ANGRY .6 SAD .2 DISGUST; .7 of it + .3 ANGRY = .44 ANGRY .42 SAD .14 DISGUST.
    # B of that: 분노 .8*.44 + .3*.14, 상처 .2*.44 + .2*.42 + .7*.14, 슬픔 .8*.42; sum 1 only by chance of the columns.
    anger, hurt, sadness = 0.394, 0.27, 0.336
    total = anger + hurt + sadness
    expected = [0, 0, anger / total, 0, hurt / total, sadness / total]
    assert fuse((0, 0, 0, 0, 1, 0), (1, 0, 0, 0, 0, 0)) == pytest.approx(expected, abs=1e-9)


def test_voice_alone_by_hand() -> None:
    # The column FEAR of B: 당황 .2, 불안 .8.
    assert fuse(None, (0, 0, 0, 0, 1, 0)) == pytest.approx([0, 0.2, 0, 0.8, 0, 0], abs=1e-9)


@given(simplex(6) | st.none(), simplex(6), st.floats(0.05, 1), st.floats(0, 1))
def test_fusion_equals_the_reference_written_apart(
    text: tuple[float, ...] | None, voice: tuple[float, ...], text_weight: float, voice_weight: float
) -> None:
    named = None if text is None else dict(zip(KO_LABELS, text, strict=True))
    expected = step_5(named, dict(zip(EN_LABELS, voice, strict=True)), text_weight, voice_weight)
    result = fuse(text, voice, text_weight, voice_weight)
    assert result == pytest.approx(list(expected.values()), abs=1e-10)
    assert result.sum() == pytest.approx(1, abs=1e-9)
    assert ((result >= 0) & (result <= 1)).all()


@given(simplex(6) | st.none(), simplex(6), st.permutations(KO_LABELS), st.permutations(EN_LABELS))
def test_the_order_of_a_models_labels_does_not_matter(
    text: tuple[float, ...] | None, voice: tuple[float, ...], ko: list[str], en: list[str]
) -> None:
    expected = dict(zip(KO_LABELS, fuse(text, voice), strict=True))
    read = None if text is None else np.array([text[KO_LABELS.index(label)] for label in ko])
    heard = np.array([voice[EN_LABELS.index(label)] for label in en])
    result = dict(zip(ko, Fusion(Projection(), tuple(ko), tuple(en)).fuse(read, heard), strict=True))
    assert result == pytest.approx(expected, abs=1e-12)


def test_any_number_of_vectors_at_once() -> None:
    fusion = Fusion(Projection(), KO_LABELS, EN_LABELS)
    text, voice = np.random.default_rng(0).dirichlet(np.ones(6), (2, 4, 3))
    english = fusion.fuse_english(text, voice)
    korean = fusion.to_korean(english)
    assert english.shape == korean.shape == (4, 3, 6)
    for place in np.ndindex(4, 3):
        assert english[place] == pytest.approx(fusion.fuse_english(text[place], voice[place]), abs=1e-12)
        assert korean[place] == pytest.approx(fusion.to_korean(english[place]), abs=1e-12)


@given(simplex(6), simplex(6), simplex(6))
def test_a_weight_of_zero_silences_its_side(
    text: tuple[float, ...], voice: tuple[float, ...], other: tuple[float, ...]
) -> None:
    assert fuse(text, voice, 1, 0) == pytest.approx(fuse(text, other, 1, 0), abs=1e-12)
    assert fuse(text, voice, 0, 1) == pytest.approx(fuse(other, voice, 0, 1), abs=1e-12)
    assert fuse(text, voice, 0, 1) == pytest.approx(fuse(None, voice), abs=1e-9)


@given(simplex(6), st.floats(0, 1), st.floats(0, 1))
def test_without_words_the_weights_do_not_matter(
    voice: tuple[float, ...], text_weight: float, voice_weight: float
) -> None:
    assert fuse(None, voice, text_weight, voice_weight) == pytest.approx(fuse(None, voice, 0, 1), abs=1e-12)


def test_a_model_with_fewer_labels_still_answers() -> None:
    fusion = Fusion(Projection(), ("슬픔", "기쁨"), ("HAPPY", "SAD"))
    result = fusion.fuse(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    assert result == pytest.approx([0, 1], abs=1e-9)
    assert result.sum() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("text_labels", "voice_labels", "named"),
    [
        ((*KO_LABELS[:5], "neutral"), EN_LABELS, ("text", "'neutral'", "슬픔", "MAEUM_PROJECTION_FILE")),
        (KO_LABELS, (*EN_LABELS, "CALM"), ("voice", "'CALM'", "SURPRISE", "MAEUM_PROJECTION_FILE")),
        ((*KO_LABELS, "기쁨"), EN_LABELS, ("text", "twice", "기쁨")),
        (KO_LABELS, ("SAD", "SAD"), ("voice", "twice", "SAD")),
    ],
)
def test_labels_that_do_not_fit_are_refused_by_name(
    text_labels: tuple[str, ...], voice_labels: tuple[str, ...], named: tuple[str, ...]
) -> None:
    with pytest.raises(UnknownLabel) as caught:
        Fusion(Projection(), text_labels, voice_labels)
    assert all(part in caught.value.message for part in named)


# the projection file


def test_without_a_file_the_originals_matrices_hold() -> None:
    projection = Projection.load(None)
    assert projection.ko_labels == KO_LABELS
    assert projection.en_labels == EN_LABELS
    assert projection.ko_to_en == tuple(tuple(A[en].get(ko, 0.0) for ko in KO_LABELS) for en in EN_LABELS)
    assert projection.en_to_ko == tuple(tuple(B[ko].get(en, 0.0) for en in EN_LABELS) for ko in KO_LABELS)


def small() -> dict[str, Any]:
    return {
        "ko_labels": ["좋음", "나쁨"],
        "en_labels": ["GOOD", "BAD", "UGLY"],
        "ko_to_en": [[1, 0], [0, 0.5], [0, 0.5]],
        "en_to_ko": [[1, 0, 0], [0, 1, 1]],
    }


def write(folder: Path, content: Any) -> Path:
    path = folder / "projection.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return path


def test_a_file_brings_other_labels(tmp_path: Path) -> None:
    fusion = Fusion(Projection.load(write(tmp_path, small())), ("나쁨", "좋음"), ("UGLY", "GOOD", "BAD"))
    assert fusion.fuse(np.array([1.0, 0.0]), np.array([0.5, 0.0, 0.5])) == pytest.approx([1, 0], abs=1e-9)


def test_a_file_may_change_only_a_matrix(tmp_path: Path) -> None:
    projection = Projection.load(write(tmp_path, {"en_to_ko": np.eye(6).tolist()}))
    assert projection.ko_labels == KO_LABELS
    assert Fusion(projection, KO_LABELS, EN_LABELS).fuse(None, np.eye(6)[2]) == pytest.approx(np.eye(6)[2], abs=1e-9)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"ko_labels": ["좋음", "좋음"]}, ("ko_labels", "twice")),
        ({"ko_labels": []}, ("ko_labels", "at least one")),
        ({"ko_labels": [1, 2]}, ("ko_labels",)),
        ({"ko_to_en": [[1, 0], [0, 0.5]]}, ("ko_to_en", "3 rows of 2")),
        ({"en_to_ko": [[1, 0], [0, 1]]}, ("en_to_ko", "2 rows of 3")),
        ({"ko_to_en": [[1, 0], [0, -0.5], [0, 0.5]]}, ("ko_to_en", "negative")),
        ({"ko_to_en": [[1, 0], [0, float("nan")], [0, 0.5]]}, ("ko_to_en", "finite")),
        ({"ko_to_en": [[1, 0], [0, float("inf")], [0, 0.5]]}, ("ko_to_en", "finite")),
        ({"ko_to_en": [[1, 0], [0, "half"], [0, 0.5]]}, ("ko_to_en", "number")),
        ({"ko_to_en": 1}, ("ko_to_en",)),
        ({"ko_to_em": [[1]]}, ("ko_to_em",)),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, change: dict[str, Any], named: tuple[str, ...]) -> None:
    with pytest.raises(InvalidConfiguration) as caught:
        Projection.load(write(tmp_path, small() | change))
    assert all(part in caught.value.message for part in ("projection.json", *named))


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "3", "[" * 100_000, '"\\ud800"'])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidConfiguration, match=r"projection\.json"):
        Projection.load(write(tmp_path, content))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "projection.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidConfiguration, match=r"projection\.json"):
        Projection.load(path)


@pytest.mark.parametrize("name", ["missing.json", ""])
def test_a_file_that_is_not_there_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidConfiguration, match="projection file"):
        Projection.load(tmp_path / name)


@given(st.lists(simplex(6), min_size=1, max_size=5))
def test_sentences_become_votes_or_the_mean_of_their_probabilities(sentences: list[tuple[float, ...]]) -> None:
    by_votes = Fusion(Projection(), KO_LABELS, EN_LABELS, text_pooling="votes")
    by_mean = Fusion(Projection(), KO_LABELS, EN_LABELS, text_pooling="mean")
    assert by_votes.pool(sentences) == pytest.approx(vote(sentences, 6))
    means = [sum(column) / len(sentences) for column in zip(*sentences, strict=True)]
    assert by_mean.pool(sentences) == pytest.approx(means)


def test_votes_are_the_default() -> None:
    sentences = [(0.4, 0.6, 0, 0, 0, 0), (0, 0, 0.9, 0.1, 0, 0)]
    assert Fusion(Projection(), KO_LABELS, EN_LABELS).pool(sentences).tolist() == [0, 0.5, 0.5, 0, 0, 0]
