from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from maeum.calibration import Calibration, Stacked, combine, log_features, soften
from maeum.errors import InvalidConfiguration
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection, vote
from tests.unit.test_fusion import simplex

FUSION = Fusion(Projection(), KO_LABELS, EN_LABELS)
NAMES = {"speech": "embedded:speech", "text": "embedded:text", "voice": "embedded:voice"}
SENTENCES = [[0.5, 0.1, 0.1, 0.1, 0.1, 0.1], [0.1, 0.4, 0.2, 0.1, 0.1, 0.1]]
VOICE = np.array([0.3, 0.2, 0.1, 0.2, 0.15, 0.05])


def calibration(**changes: Any) -> Calibration:
    facts: dict[str, Any] = {
        "space": "korean",
        "models": NAMES,
        "projection": Projection().identity(),
        "voice_pooling": "first",
        "text_labels": KO_LABELS,
        "voice_labels": EN_LABELS,
        "text_temperature": 1.5,
        "voice_temperature": 0.8,
        "text_weight": 0.6,
        "voice_weight": 0.4,
        "fusion": "weights",
        "stacked": None,
    }
    return Calibration.model_validate(facts | changes)


def stacked(labels: tuple[str, ...], seed: int = 0) -> Stacked:
    rng = np.random.default_rng(seed)
    return Stacked(
        labels=labels,
        coefficients=tuple(tuple(row) for row in rng.normal(size=(len(labels), 12)).tolist()),
        intercepts=tuple(rng.normal(size=len(labels)).tolist()),
    )


# temperature


@given(simplex(6))
def test_a_temperature_of_1_changes_nothing(probabilities: tuple[float, ...]) -> None:
    assert soften(np.array(probabilities), 1.0) == pytest.approx(probabilities, abs=1e-9)


@given(simplex(6), st.floats(0.05, 20), st.floats(1.1, 5))
def test_a_higher_temperature_is_less_sure(probabilities: tuple[float, ...], temperature: float, factor: float) -> None:
    cooler, warmer = soften(np.array(probabilities), temperature), soften(np.array(probabilities), temperature * factor)
    assert cooler.sum() == pytest.approx(1)
    assert warmer.max() <= cooler.max() + 1e-12
    assert cooler[np.argmax(probabilities)] == pytest.approx(cooler.max())


def test_temperature_2_by_hand() -> None:
    # Square roots of .64 and .36 are .8 and .6.
    assert soften(np.array([0.64, 0.36]), 2.0) == pytest.approx([0.8 / 1.4, 0.6 / 1.4])


# the fusion without and with a calibration


@given(st.lists(simplex(6), max_size=5), simplex(6))
def test_without_a_calibration_the_references_formula_holds(
    sentences: list[tuple[float, ...]], voice: tuple[float, ...]
) -> None:
    found = combine(FUSION, None, sentences, np.array(voice))
    votes = vote(sentences, 6) if sentences else None
    assert found.korean.tolist() == FUSION.fuse(votes, np.array(voice)).tolist()
    assert (found.text is None) == (not sentences)
    assert found.voice is not None
    assert found.voice.tolist() == list(voice)
    assert found.english.sum() == pytest.approx(1)


def test_under_a_calibration_the_words_are_a_mean_and_no_vote() -> None:
    found = combine(FUSION, calibration(), SENTENCES, VOICE)
    text = np.mean([soften(np.array(row), 1.5) for row in SENTENCES], axis=0)
    weighted = replace(FUSION, text_weight=0.6, voice_weight=0.4)
    assert found.text == pytest.approx(text)
    assert found.voice == pytest.approx(soften(VOICE, 0.8))
    assert found.korean == pytest.approx(weighted.fuse(text, soften(VOICE, 0.8)))


@pytest.mark.parametrize("way", ["weights", "stacked"])
def test_without_words_the_calibrated_voice_decides(way: str) -> None:
    found = combine(FUSION, calibration(fusion=way, stacked=stacked(KO_LABELS)), [], VOICE)
    assert found.text is None
    assert found.korean == pytest.approx(FUSION.fuse(None, soften(VOICE, 0.8)))


@pytest.mark.parametrize("n_labels", [3, 6])
def test_the_stacked_fusion_equals_scikit_learn(n_labels: int) -> None:
    rng = np.random.default_rng(1)
    text, voice = rng.dirichlet(np.ones(6), 60), rng.dirichlet(np.ones(6), 60)
    truth = np.arange(60) % n_labels
    regression = LogisticRegression(max_iter=10_000).fit(log_features(text, voice), truth)
    labels = KO_LABELS[:n_labels]
    fitted = calibration(
        fusion="stacked",
        text_temperature=1.0,
        voice_temperature=1.0,
        stacked=Stacked(
            labels=labels,
            coefficients=tuple(tuple(row) for row in regression.coef_.tolist()),
            intercepts=tuple(regression.intercept_.tolist()),
        ),
    )
    _, korean = fitted.fuse(FUSION, text, voice)
    assert korean[:, :n_labels] == pytest.approx(regression.predict_proba(log_features(text, voice)), abs=1e-9)
    assert korean[:, n_labels:] == pytest.approx(0, abs=1e-9)


def test_one_clip_at_a_time_equals_many() -> None:
    rng = np.random.default_rng(2)
    text, voice = rng.dirichlet(np.ones(6), 5), rng.dirichlet(np.ones(6), 5)
    for fitted in (calibration(), calibration(fusion="stacked", stacked=stacked(KO_LABELS))):
        english, korean = fitted.fuse(FUSION, text, voice)
        for index in range(5):
            alone = fitted.fuse(FUSION, text[index], voice[index])
            assert alone[0] == pytest.approx(english[index])
            assert alone[1] == pytest.approx(korean[index])


@pytest.mark.parametrize(("space", "labels"), [("korean", KO_LABELS[::-1]), ("english", EN_LABELS[:4])])
def test_labels_are_matched_by_name(space: str, labels: tuple[str, ...]) -> None:
    fitted = calibration(fusion="stacked", space=space, stacked=stacked(labels))
    expected = combine(FUSION, fitted, SENTENCES, VOICE)
    other = Fusion(Projection(), KO_LABELS[::-1], EN_LABELS[::-1])
    found = combine(other, fitted, [row[::-1] for row in SENTENCES], VOICE[::-1])
    assert found.korean == pytest.approx(expected.korean[::-1])
    assert found.english == pytest.approx(expected.english)


def test_the_other_space_is_the_projection() -> None:
    korean = combine(FUSION, calibration(fusion="stacked", stacked=stacked(KO_LABELS)), SENTENCES, VOICE)
    assert korean.english == pytest.approx(FUSION.text_to_english(korean.korean))
    english = combine(
        FUSION, calibration(fusion="stacked", space="english", stacked=stacked(EN_LABELS)), SENTENCES, VOICE
    )
    assert english.korean == pytest.approx(FUSION.to_korean(english.english))


# the file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    fitted = calibration(fusion="stacked", stacked=stacked(KO_LABELS))
    path = tmp_path / "calibration.json"
    path.write_text(fitted.model_dump_json(), encoding="utf-8")
    assert Calibration.load(path) == fitted
    assert Calibration.load(None) is None


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"version": 1}, "run `maeum calibrate` again"),
        ({"text_temperature": 0}, "text_temperature"),
        ({"voice_temperature": float("nan")}, "voice_temperature"),
        ({"text_weight": 0, "voice_weight": 0}, "both be 0"),
        ({"text_weight": 1.5}, "text_weight"),
        ({"fusion": "stacked"}, "no regression"),
        ({"fusion": "votes"}, "fusion"),
        ({"text_labels": ["기쁨", "기쁨"]}, "text_labels"),
        ({"voice_labels": []}, "voice_labels"),
        ({"stacked": {"labels": ["기쁨"], "coefficients": [[1.0]], "intercepts": [0]}}, "1 rows of 12"),
        ({"stacked": {"labels": [], "coefficients": [], "intercepts": []}}, "at least one label"),
        ({"stacked": {"labels": ["기쁨"], "coefficients": [[0.0] * 12], "intercepts": []}}, "1 numbers"),
        ({"stacked": {"labels": ["기쁨"], "coefficients": [[1e999] * 12], "intercepts": [0]}}, "finite"),
        ({"surprise": 1}, "surprise"),
        ({"models": {}}, "models must name speech, text and voice"),
        ({"models": {"speech": "a", "text": "b"}}, "models must name speech, text and voice"),
    ],
)
def test_a_broken_rule_is_named(tmp_path: Path, change: dict[str, Any], named: str) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(json.dumps(calibration().model_dump() | change), encoding="utf-8")
    with pytest.raises(InvalidConfiguration) as caught:
        Calibration.load(path)
    assert "calibration.json" in caught.value.message
    assert named in caught.value.message


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_a_file_that_is_no_json_object_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "calibration.json"
    path.write_bytes(content)
    with pytest.raises(InvalidConfiguration, match=r"calibration\.json"):
        Calibration.load(path)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match="calibration file"):
        Calibration.load(tmp_path / "missing.json")


def test_it_fits_only_the_models_it_was_fitted_for() -> None:
    fitted = calibration(stacked=stacked(KO_LABELS))
    fitted.check_fits(FUSION, NAMES, "first")
    with pytest.raises(InvalidConfiguration, match=r"text model embedded:text, not for folder:mine.*maeum calibrate"):
        fitted.check_fits(FUSION, {**NAMES, "text": "folder:mine"}, "first")
    with pytest.raises(InvalidConfiguration, match="labels of the text model: 슬픔"):
        fitted.check_fits(Fusion(Projection(), KO_LABELS[:5], EN_LABELS), NAMES, "first")
    with pytest.raises(InvalidConfiguration, match="labels of the voice model: SURPRISE"):
        fitted.check_fits(Fusion(Projection(), KO_LABELS, EN_LABELS[:5]), NAMES, "first")
    with pytest.raises(InvalidConfiguration, match="labels of the stacked fusion: ANGRY"):
        calibration(stacked=stacked(("ANGRY", "기쁨"))).check_fits(FUSION, NAMES, "first")


def test_it_fits_only_the_pooling_and_the_projection_it_was_fitted_under() -> None:
    fitted = calibration()
    with pytest.raises(InvalidConfiguration, match="voice pooling first, not for windows"):
        fitted.check_fits(FUSION, NAMES, "windows")
    matrix = np.array(Projection().ko_to_en)
    matrix[0, 4] = 0.5
    other = Projection(ko_to_en=tuple(map(tuple, matrix.tolist())))
    with pytest.raises(InvalidConfiguration, match=f"the projection {Projection().identity()}, not for"):
        fitted.check_fits(Fusion(other, KO_LABELS, EN_LABELS), NAMES, "first")


def test_the_same_files_in_another_folder_are_the_same_model() -> None:
    fitted = calibration(models={**NAMES, "text": "folder:here sha256:0123456789ab"})
    fitted.check_fits(FUSION, {**NAMES, "text": "folder:there sha256:0123456789ab"}, "first")
    with pytest.raises(InvalidConfiguration, match="text model folder:here"):
        fitted.check_fits(FUSION, {**NAMES, "text": "folder:here sha256:ba9876543210"}, "first")
