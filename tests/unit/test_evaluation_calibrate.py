from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maeum.calibration import Calibration, combine, soften
from maeum.errors import InvalidManifest
from maeum.evaluation.calibrate import STRENGTHS, calibrate
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.metrics import mean_log_loss
from maeum.evaluation.predict import Models
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection
from maeum.models import MODEL_KINDS, resolve
from maeum.settings import Settings
from maeum.stages import Failure

MODELS = Models(
    {kind: resolve(kind, Settings()) for kind in MODEL_KINDS},
    Fusion(Projection(), KO_LABELS, EN_LABELS),
    frozenset({"ko"}),
    "first",
)


def prediction(content: str, text: tuple[float, ...] | None, voice: tuple[float, ...]) -> Prediction:
    sentences = () if text is None else (text,)
    confidence = 0.9 if sentences else None
    return Prediction(
        content=content, transcript="말", duration_s=1, confidence=confidence, sentences=sentences, voice=voice
    )


def spoken(
    labels: tuple[str, ...], n_clips: int, *, sharpness: float = 1.0, speakers: int = 0
) -> tuple[list[Clip], list[Prediction | Failure]]:
    """Clips whose words and voice point at the label, with noise.

    The probabilities are those of the noise exactly, then sharpened: a temperature of `sharpness` mends them.
    """
    rng = np.random.default_rng(3)
    clips: list[Clip] = []
    predictions: list[Prediction | Failure] = []
    for number in range(n_clips):
        vector = rng.dirichlet(np.full(len(labels), 0.5))
        emotion = labels[rng.choice(len(labels), p=vector)]
        speaker = f"speaker {number % speakers}" if speakers else None
        clips.append(Clip(number + 2, f"{number}.wav", Path(f"{number}.wav"), emotion=emotion, speaker=speaker))
        sure = tuple(soften(vector, 1 / sharpness).tolist())
        blank = tuple(rng.dirichlet(np.full(6, 50.0)).tolist())
        text, voice = (sure, blank) if labels == KO_LABELS else (blank, sure)
        predictions.append(prediction(str(number), text, voice))
    return clips, predictions


@pytest.mark.parametrize("labels", [KO_LABELS, EN_LABELS])
def test_the_temperature_that_spoilt_the_probabilities_is_found(labels: tuple[str, ...]) -> None:
    clips, predictions = spoken(labels, 600, sharpness=3)
    found = calibrate(clips, predictions, MODELS)
    temperature = found.text_temperature if labels == KO_LABELS else found.voice_temperature
    assert temperature == pytest.approx(3, rel=0.25)
    assert found.space == ("korean" if labels == KO_LABELS else "english")
    assert found.models == MODELS.identities
    assert found.fit is not None
    assert found.fit.quality["weights"].log_loss < found.fit.quality["fixed"].log_loss
    found.check_fits(MODELS.fusion, MODELS.identities, "first")


def test_the_fusion_with_the_lower_log_loss_is_chosen_and_named() -> None:
    # Labels told in reverse: only the regression can learn that.
    clips, predictions = spoken(KO_LABELS, 300)
    reverse = dict(zip(KO_LABELS, KO_LABELS[::-1], strict=True))
    clips = [Clip(clip.line, clip.path, clip.file, emotion=reverse[str(clip.emotion)]) for clip in clips]
    found = calibrate(clips, predictions, MODELS)
    assert found.fusion == "stacked"
    assert found.fit is not None
    quality = found.fit.quality
    assert quality["stacked"].log_loss < min(quality["weights"].log_loss, quality["fixed"].log_loss)
    assert found.fit.reason.startswith("stacked fusion has the lower cross-validated log loss")
    right = [
        KO_LABELS[combine(MODELS.fusion, found, one.sentences, np.asarray(one.voice)).korean.argmax()] == clip.emotion
        for clip, one in zip(clips, predictions, strict=True)
        if isinstance(one, Prediction)
    ]
    assert np.mean(right) > quality["fixed"].accuracy + 0.1


def test_stacked_fusion_hears_a_voice_that_the_projection_mistakes() -> None:
    """It tells the emotions apart, but not by the labels of the matrices: its temperature runs to the bound."""
    rng = np.random.default_rng(1)
    mistaken = dict(zip(KO_LABELS, (1, 0, 3, 5, 4, 2), strict=True))
    clips: list[Clip] = []
    predictions: list[Prediction | Failure] = []
    for number in range(300):
        emotion = KO_LABELS[rng.integers(6)]
        text, voice = rng.standard_normal(6), rng.standard_normal(6)
        text[KO_LABELS.index(emotion)] += 1
        voice[mistaken[emotion]] += 2
        vectors = [tuple(soften(np.exp(one) / np.exp(one).sum(), 0.7).tolist()) for one in (text, voice)]
        clips.append(Clip(number + 2, f"{number}.wav", Path(f"{number}.wav"), emotion=emotion))
        predictions.append(prediction(str(number), *vectors))
    found = calibrate(clips, predictions, MODELS)
    assert found.fit is not None
    assert found.voice_temperature > 19
    assert found.fit.quality["stacked"].accuracy > found.fit.quality["text alone"].accuracy + 0.2
    assert found.fit.quality["stacked"].log_loss < found.fit.quality["text alone"].log_loss - 0.4
    assert found.stacked is not None
    assert found.stacked.standardised


def test_one_error_among_many_does_not_decide() -> None:
    """Where a fold has no error to learn from, its temperature must not make it as sure as can be."""
    rng = np.random.default_rng(0)
    clips: list[Clip] = []
    predictions: list[Prediction | Failure] = []
    for number in range(120):
        label = number % 6
        vector = rng.standard_normal(6) * 0.3
        vector[(label + 1) % 6 if number == 40 else label] += 2.2
        text = tuple(soften(np.exp(vector) / np.exp(vector).sum(), 0.5).tolist())
        voice = tuple(rng.dirichlet(np.ones(6)).tolist())
        clips.append(Clip(number + 2, f"{number}.wav", Path(f"{number}.wav"), emotion=KO_LABELS[label]))
        predictions.append(prediction(str(number), text, voice))
    found = calibrate(clips, predictions, MODELS).fit
    assert found is not None
    assert found.quality["text alone"].accuracy == pytest.approx(119 / 120)
    assert found.quality["text alone"].log_loss < 0.15  # one error, at six nats or so, and no more than doubt elsewhere


def test_what_cannot_be_used_is_left_out() -> None:
    clips, predictions = spoken(KO_LABELS, 100)
    predictions[0] = Failure("empty_audio", "nothing there")
    predictions[1] = prediction("1", None, (1.0, 0, 0, 0, 0, 0))
    clips[2] = Clip(4, "2.wav", Path("2.wav"))
    found = calibrate(clips, predictions, MODELS).fit
    assert found is not None
    assert (found.n_clips, found.n_without_speech, found.n_folds) == (97, 1, 5)
    assert sum(found.n_clips_per_label.values()) == 97
    assert not found.speakers_kept_apart


def test_speakers_are_kept_apart() -> None:
    found = calibrate(*spoken(KO_LABELS, 120, speakers=3), MODELS).fit
    assert found is not None
    assert found.speakers_kept_apart
    assert found.n_folds == 3


def test_a_clip_that_is_listed_often_is_never_on_both_sides() -> None:
    """Labels without any connection to the clips, each clip listed six times: nothing can be learnt."""
    rng = np.random.default_rng(1)
    clips: list[Clip] = []
    predictions: list[Prediction | Failure] = []
    for number in range(60):
        text, voice = (tuple(rng.dirichlet(np.full(6, 0.3)).tolist()) for _ in range(2))
        clip = Clip(number + 2, f"{number}.wav", Path(f"{number}.wav"), emotion=("기쁨", "슬픔")[number % 2])
        clips += [clip] * 6
        predictions += [prediction(str(number), text, voice)] * 6
    found = calibrate(clips, predictions, MODELS).fit
    assert found is not None
    assert found.quality["stacked"].accuracy < 0.65
    assert len(found.contents) == 60


def test_a_label_of_one_speaker_is_named() -> None:
    clips, predictions = spoken(KO_LABELS, 300, speakers=3)
    clips = [replace(clip, speaker="speaker 0") if clip.emotion == "상처" else clip for clip in clips]
    found = calibrate(clips, predictions, MODELS).fit
    assert found is not None
    assert [one for one in found.warnings if one.startswith("all that is 상처 was in one fold")]


def test_a_temperature_at_its_bound_is_named() -> None:
    clips, predictions = spoken(KO_LABELS, 300)
    rng = np.random.default_rng(5)
    noise = [tuple(np.eye(6)[rng.integers(6)].tolist()) for _ in clips]
    predictions = [
        prediction(one.content, one.sentences[0], voice)
        for one, voice in zip(predictions, noise, strict=True)
        if isinstance(one, Prediction)
    ]
    found = calibrate(clips, predictions, MODELS)
    assert found.fit is not None
    assert found.voice_temperature > 19
    assert [one for one in found.fit.warnings if "temperature of voice is at its bound of 20" in one]
    assert not [one for one in found.fit.warnings if "temperature of text" in one]


@pytest.mark.parametrize(("sharpness", "named"), [(1 / 8, True), (1, False)])
def test_a_temperature_that_makes_very_sure_is_named(sharpness: float, named: bool) -> None:
    found = calibrate(*spoken(KO_LABELS, 600, sharpness=sharpness), MODELS)
    assert found.fit is not None
    assert found.text_temperature == pytest.approx(sharpness, rel=0.25)
    assert bool([one for one in found.fit.warnings if one.startswith("the temperature of text, ")]) is named


def test_either_modality_alone_is_measured_beside_them() -> None:
    # The voice says nothing at all, so that the words alone are as good as any fusion.
    found = calibrate(*spoken(KO_LABELS, 600), MODELS).fit
    assert found is not None
    quality = found.quality
    assert list(quality) == ["fixed", "weights", "stacked", "text alone", "voice alone"]
    assert quality["text alone"].accuracy > quality["voice alone"].accuracy + 0.2
    assert quality["text alone"].log_loss < quality["stacked"].log_loss
    assert f"text alone has {quality['text alone'].log_loss:.3f}: by log loss fusing is no gain" in found.reason
    assert "voice alone has" not in found.reason


def test_of_few_clips_the_regression_does_not_learn_the_noise() -> None:
    clips, predictions = spoken(KO_LABELS, 90, speakers=6)
    others, outcomes = spoken(KO_LABELS, 690, speakers=6)
    answered = [one for one in outcomes[90:] if isinstance(one, Prediction)]
    true = np.array([KO_LABELS.index(str(clip.emotion)) for clip in others[90:]])

    def loss(found: Calibration) -> float:
        way = found.model_copy(update={"fusion": "stacked"})
        fused = [combine(MODELS.fusion, way, one.sentences, np.asarray(one.voice)).korean for one in answered]
        return mean_log_loss(true, np.array(fused))

    chosen = calibrate(clips, predictions, MODELS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("maeum.evaluation.calibrate.STRENGTHS", (1.0,))
        unchecked = calibrate(clips, predictions, MODELS)
    assert loss(chosen) < loss(unchecked) - 0.02
    assert chosen.stacked is not None
    assert unchecked.stacked is not None
    assert chosen.stacked.regularisation_c in STRENGTHS[1:]  # more strongly, and the file says how strongly
    assert unchecked.stacked.regularisation_c == STRENGTHS[0]


def test_few_clips_are_a_trial() -> None:
    def warnings(n_clips: int) -> list[str]:
        found = calibrate(*spoken(KO_LABELS, n_clips), MODELS).fit
        assert found is not None
        return [one for one in found.warnings if "take this for a trial" in one]

    assert warnings(60)
    assert not warnings(600)


def test_two_labels_are_enough() -> None:
    clips, predictions = spoken(KO_LABELS, 200)
    pairs = [pair for pair in zip(clips, predictions, strict=True) if pair[0].emotion in ("기쁨", "슬픔")]
    found = calibrate([clip for clip, _ in pairs], [outcome for _, outcome in pairs], MODELS)
    assert found.stacked is not None
    assert found.stacked.labels == ("기쁨", "슬픔")


def test_fusion_that_would_never_answer_a_label_is_not_chosen() -> None:
    clips, predictions = spoken(KO_LABELS, 300)
    reverse = dict(zip(KO_LABELS, KO_LABELS[::-1], strict=True))  # which only the regression can learn
    pairs = [
        (Clip(clip.line, clip.path, clip.file, emotion=reverse[str(clip.emotion)]), outcome)
        for clip, outcome in zip(clips, predictions, strict=True)
        if clip.emotion != "상처"
    ]
    found = calibrate([clip for clip, _ in pairs], [outcome for _, outcome in pairs], MODELS)
    assert found.fit is not None
    assert found.fit.quality["stacked"].log_loss < found.fit.quality["weights"].log_loss
    assert found.fusion == "weights"
    assert found.fit.reason.startswith("no clip is 당황, which stacked fusion would then never answer")


def test_it_is_the_same_every_time() -> None:
    assert calibrate(*spoken(KO_LABELS, 60), MODELS) == calibrate(*spoken(KO_LABELS, 60), MODELS)


def test_too_little_is_refused_by_name() -> None:
    clips, predictions = spoken(KO_LABELS, 100)
    hurt = [index for index, clip in enumerate(clips) if clip.emotion == "상처"]
    kept = [index for index in range(100) if index not in hurt[2:]]
    with pytest.raises(InvalidManifest, match=r"at least 3 clips .* 2 of 상처") as caught:
        calibrate([clips[index] for index in kept], [predictions[index] for index in kept], MODELS)
    assert caught.value.code == "too_few_clips"
    with pytest.raises(InvalidManifest, match="two labels"):
        calibrate([clips[index] for index in hurt], [predictions[index] for index in hurt], MODELS)
    with pytest.raises(InvalidManifest, match="no clip"):
        calibrate([], [], MODELS)
    with pytest.raises(InvalidManifest, match="one speaker"):
        calibrate(*spoken(KO_LABELS, 100, speakers=1), MODELS)


def test_both_label_spaces_at_once_are_refused() -> None:
    korean, english = spoken(KO_LABELS, 30), spoken(EN_LABELS, 30)
    with pytest.raises(InvalidManifest, match="both label spaces"):
        calibrate([*korean[0], *english[0]], [*korean[1], *english[1]], MODELS)


def test_a_missing_speaker_is_named() -> None:
    clips, predictions = spoken(KO_LABELS, 60, speakers=3)
    clips[5] = Clip(7, "5.wav", Path("5.wav"), emotion=clips[5].emotion)
    with pytest.raises(InvalidManifest, match=r"line 7 .* no speaker"):
        calibrate(clips, predictions, MODELS)
