from __future__ import annotations

import base64
import errno
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow.parquet as pq
import pytest

from maeum.evaluation.calibrate import calibrate
from maeum.evaluation.journal import Prediction
from maeum.evaluation.manifest import Clip
from maeum.evaluation.report import render
from maeum.evaluation.run import Evaluation, judge, write_report
from maeum.fusion import EN_LABELS, KO_LABELS
from maeum.stages import Failure
from tests.unit.test_evaluation_calibrate import MODELS, spoken

ROW = np.full(6, 0.02) + np.eye(6) * 0.88
HOSTILE = '<script src="http://example.org/x.js">'


def heard(text: str | None, voice: int | None, said: str = "말", content: str = "") -> Prediction:
    sentences = () if text is None else (tuple(ROW[KO_LABELS.index(text)].tolist()),)
    voices = None if voice is None else tuple(ROW[voice].tolist())
    return Prediction(
        content=content,
        transcript=said,
        duration_s=2.0,
        confidence=0.8 if sentences else None,
        sentences=sentences,
        voice=voices,
    )


def clip(path: str, text: str | None = None, emotion: str | None = None) -> Clip:
    return Clip(2, path, Path(path), text, emotion)


JOY, FEAR = EN_LABELS.index("HAPPY"), EN_LABELS.index("FEAR")
CLIPS = [
    clip("joy.wav", "말", "기쁨"),
    clip("hurt.wav", emotion="상처"),
    clip("silence.wav", emotion="기쁨"),
    clip("voice.wav", emotion="FEAR"),
    clip(HOSTILE, HOSTILE),
    clip("broken.wav", "말", "기쁨"),
]
OUTCOMES: list[Prediction | Failure] = [
    heard("기쁨", JOY),
    heard("기쁨", JOY),
    heard(None, JOY, said=""),
    heard("슬픔", FEAR),
    heard("슬픔", FEAR, said="http://example.org/말"),
    Failure("undecodable_audio", f"no audio {HOSTILE}"),
]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return judge(Path("somewhere/clips.csv"), CLIPS, OUTCOMES, MODELS, None)


@pytest.fixture(scope="module")
def report(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("report") / "new"
    write_report(evaluation, MODELS, out)
    return out


def test_korean_labels_meet_the_words_and_the_fused_vector(evaluation: Evaluation) -> None:
    korean = evaluation.emotions["korean"]
    assert list(korean.by_modality) == ["text", "text, mean", "voice, projected", "fused"]
    text, fused = korean.by_modality["text"], korean.by_modality["fused"]
    assert text is not None
    assert fused is not None
    # The silent clip is no text; the service answers with its voice, which is right.
    assert (text.n_clips, text.n_abstained, text.accuracy.value) == (2, 1, 0.5)
    assert (fused.n_clips, fused.n_abstained) == (3, 0)
    assert fused.accuracy.value == pytest.approx(2 / 3)
    assert (korean.n_without_speech, korean.n_right_by_voice_alone) == (1, 1)


def test_english_labels_meet_the_voice_and_the_vector_before_its_projection(evaluation: Evaluation) -> None:
    english = evaluation.emotions["english"]
    assert list(english.by_modality) == ["text, projected", "voice", "fused"]
    voice, fused = english.by_modality["voice"], english.by_modality["fused"]
    assert voice is not None
    assert fused is not None
    assert voice.per_label["FEAR"].recall == 1
    assert fused.per_label["FEAR"].recall == 0  # sad words outweigh a frightened voice


def test_the_voice_meets_korean_labels_by_projection(evaluation: Evaluation) -> None:
    voice = evaluation.emotions["korean"].by_modality["voice, projected"]
    assert voice is not None
    # All three sound glad, the silent one too.
    assert (voice.n_clips, voice.n_abstained) == (3, 0)
    assert voice.accuracy.value == pytest.approx(2 / 3)
    alone = MODELS.fusion.fuse(None, ROW[JOY])  # what the service answers where nothing is said
    glad, hurt = alone[KO_LABELS.index("기쁨")], alone[KO_LABELS.index("상처")]
    assert voice.log_loss == pytest.approx(-(2 * np.log(glad) + np.log(hurt)) / 3)


def test_the_words_meet_english_labels_by_projection() -> None:
    clips = [clip("a.wav", "말", "SAD"), clip("b.wav", "말", "SAD"), clip("silence.wav", emotion="SAD")]
    outcomes = [heard("슬픔", JOY), heard("불안", JOY), heard(None, JOY, said="")]
    text = judge(Path("a.csv"), clips, outcomes, MODELS, None).emotions["english"].by_modality["text, projected"]
    assert text is not None
    # Without words there is nothing to project.
    assert (text.n_clips, text.n_abstained, text.accuracy.value) == (2, 1, 0.5)
    assert text.confusion[EN_LABELS.index("SAD")][FEAR] == 1


def test_metrics_are_plain_json(report: Path) -> None:
    metrics = json.loads((report / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["n_clips"] == 6
    assert metrics["n_failed"] == 1
    assert [one["path"] for one in metrics["failed"]] == ["broken.wav"]
    assert metrics["models"] == MODELS.names
    assert metrics["manifest"] == "clips.csv"
    assert metrics["transcripts"]["n_clips"] == 2
    assert set(metrics["emotions"]) == {"korean", "english"}
    assert metrics["emotions"]["korean"]["by_modality"]["voice, projected"]["n_clips"] == 3
    assert metrics["emotions"]["english"]["by_modality"]["text, projected"]["n_clips"] == 1
    assert set(metrics["emotions"]["korean"]["by_modality"]["text"]) >= {
        *("accuracy", "macro_f1", "uar", "per_label", "confusion"),
        *("ece", "reliability", "coverage", "risk", "aurc", "log_loss"),
    }


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


def test_the_page_asks_nobody_for_anything(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    page = _Page()
    page.feed(html)
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "base", "a"}
    sources = [value or "" for _, attributes in page.tags for name, value in attributes.items() if name == "src"]
    assert len(sources) == 12
    assert all(source.startswith("data:image/svg+xml;base64,") for source in sources)
    assert "url(" not in html
    assert "default-src 'none'" in html
    for source in sources:
        svg = base64.b64decode(source.partition(",")[2]).decode()
        assert not re.findall(r'(?:href|src)="(?!#|data:)', svg)
        assert "<!DOCTYPE" not in svg
        assert "@import" not in svg


def test_the_page_shows_every_modality_for_either_space(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    korean, english = html.split("<h2>Emotion, ")[1:]
    for part, names in (
        (korean, ("text", "text, mean", "voice, projected", "fused")),
        (english, ("text, projected", "voice", "fused")),
    ):
        assert all(f"<tr><td>{name}</td>" in part for name in names)
        assert all(f"<h3>{name.capitalize()}, label by label</h3>" in part for name in names)


def test_fused_is_compared_with_either_alone(report: Path, evaluation: Evaluation) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    korean, english = evaluation.emotions["korean"], evaluation.emotions["english"]
    assert list(korean.fused_less) == ["text", "text, mean", "voice, projected"]
    assert list(english.fused_less) == ["text, projected", "voice"]
    less = korean.fused_less["text"]
    assert less is not None
    assert (less.n_clips, less.accuracy.value) == (2, 0)  # the silent clip has no text
    assert all(f"<tr><td>fused less {name}</td>" in html for name in (*korean.fused_less, *english.fused_less))


def test_the_surest_errors_come_first(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    errors = html.split("<h3>The surest errors")[1].split("</table>")[0]
    assert "<td>hurt.wav</td><td>상처</td><td>기쁨</td>" in errors
    assert "joy.wav" not in errors


def test_slices_tell_genders_languages_and_speakers_apart() -> None:
    said = [
        replace(clip("a.wav", "말", "기쁨"), gender="MALE", speaker="가"),
        replace(clip("b.wav", "말", "슬픔"), gender="FEMALE", speaker="나"),
        replace(clip("c.wav", emotion="FEAR"), gender="FEMALE", speaker="나"),
    ]
    outcomes = [heard("기쁨", JOY), heard("기쁨", JOY, said="발"), heard("슬픔", FEAR)]
    found = judge(Path("clips.csv"), said, outcomes, MODELS, None)
    assert [(one.column, one.value, one.n_clips) for one in found.slices] == [
        *(("gender", "FEMALE", 2), ("gender", "MALE", 1)),
        *(("speaker", "가", 1), ("speaker", "나", 2)),
    ]
    female, male, *_ = found.slices
    assert (male.cer, male.accuracy) == (0, {"korean": 1})
    assert (female.cer, female.accuracy["korean"]) == (1, 0)
    assert female.n_labelled == {"korean": 1, "english": 1}
    assert "<td>speaker</td><td>나</td><td>2</td><td>1.000</td>" in render(found)


def test_a_gender_that_is_not_given_is_a_slice_of_its_own() -> None:
    said = [replace(clip("a.wav", "말", "기쁨"), gender="MALE"), clip("b.wav", "말", "슬픔")]
    found = judge(Path("clips.csv"), said, [heard("기쁨", JOY)] * 2, MODELS, None)
    assert [(one.value, one.n_clips) for one in found.slices] == [("", 1), ("MALE", 1)]
    assert "<td>gender</td><td>–</td><td>1</td>" in render(found)


def test_without_several_values_there_are_no_slices(evaluation: Evaluation, report: Path) -> None:
    assert evaluation.slices == ()
    assert "By gender" not in (report / "report.html").read_text(encoding="utf-8")


def test_a_report_says_how_words_and_voice_are_fused() -> None:
    by_mean = replace(MODELS, fusion=replace(MODELS.fusion, text_pooling="mean"))
    found = [judge(Path("clips.csv"), CLIPS, OUTCOMES, models, None) for models in (MODELS, by_mean)]
    assert [one.metrics()["fusion"] for one in found] == [
        "weights 0.7 and 0.3, sentences by votes",
        "weights 0.7 and 0.3, sentences by mean",
    ]
    assert "sentences by mean" in render(found[1])


def test_what_came_from_outside_is_escaped(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    assert HOSTILE not in html
    assert html.count("&lt;script src=&quot;") == 3  # path and reference among the worst, the failure's message
    assert re.findall(r"https?://\S+", re.sub(r"&lt;script.*?&gt;|http://example.org/말", "", html)) == []


def test_figures_keep_korean_as_text(report: Path) -> None:
    html = (report / "report.html").read_text(encoding="utf-8")
    figures = [base64.b64decode(data).decode() for data in re.findall(r"base64,([^\"]+)\"", html)]
    assert any("기쁨</text>" in svg for svg in figures)


def test_the_table_has_every_clip(report: Path, evaluation: Evaluation) -> None:
    table = pq.read_table(report / "predictions.parquet")
    assert table.column_names == [
        *("path", "reference", "emotion", "gender", "language", "speaker"),
        *("transcript", "cer", "confidence", "duration_s", "n_sentences"),
        *("text_top", *(f"text {label}" for label in KO_LABELS)),
        *("voice_top", *(f"voice {label}" for label in EN_LABELS)),
        *("fused_top", *(f"fused {label}" for label in KO_LABELS)),
        *("fused_en_top", *(f"fused_en {label}" for label in EN_LABELS)),
        *("error_code", "error_message"),
    ]
    rows = table.to_pylist()
    assert [row["path"] for row in rows] == [one.path for one in CLIPS]
    assert [row["error_code"] for row in rows] == [None] * 5 + ["undecodable_audio"]
    assert rows[0]["cer"] == 0
    assert rows[2]["text_top"] is None
    assert rows[2]["fused_top"] == "기쁨"
    assert rows[3]["fused 슬픔"] == pytest.approx(evaluation.judged[3].emotions.korean[5])
    assert rows[5]["fused_top"] is None
    assert (rows[5]["reference"], rows[5]["emotion"]) == ("말", "기쁨")
    assert json.loads(table.schema.metadata[b"maeum"])["models"] == MODELS.names


def test_a_failed_clip_keeps_its_place_and_what_the_manifest_says_of_it(tmp_path: Path) -> None:
    broken = Clip(3, "broken.wav", Path("broken.wav"), "말", "FEAR", "FEMALE", "en", "me")
    clips = [clip("a.wav"), broken, clip("b.wav")]
    outcomes: list[Prediction | Failure] = [
        heard("기쁨", JOY),
        Failure("empty_audio", "nothing there"),
        heard("슬픔", FEAR),
    ]
    evaluation = judge(Path("clips.csv"), clips, outcomes, MODELS, None)
    write_report(evaluation, MODELS, tmp_path)
    rows = pq.read_table(tmp_path / "predictions.parquet").to_pylist()
    assert [row["path"] for row in rows] == ["a.wav", "broken.wav", "b.wav"]
    assert [row["fused_top"] for row in rows] == ["기쁨", None, "슬픔"]
    known = {name: value for name, value in rows[1].items() if value is not None}
    assert known == {
        **{"path": "broken.wav", "reference": "말", "emotion": "FEAR", "gender": "FEMALE", "language": "en"},
        **{"speaker": "me", "error_code": "empty_audio", "error_message": "nothing there"},
    }
    metrics = json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["failed"] == [{"path": "broken.wav", "code": "empty_audio", "message": "nothing there"}]


def test_a_report_is_for_its_owner_alone(evaluation: Evaluation, tmp_path: Path) -> None:
    write_report(evaluation, MODELS, tmp_path)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {
        name: 0o600 for name in ("metrics.json", "predictions.parquet", "report.html")
    }


def test_a_report_that_cannot_be_written_whole_leaves_the_one_before(
    evaluation: Evaluation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report(evaluation, MODELS, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def full(_: object, stream: BinaryIO) -> None:
        stream.write(b"PAR1")
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(pq, "write_table", full)
    with pytest.raises(OSError, match="no space"):
        write_report(evaluation, MODELS, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_clips_that_are_listed_twice_and_those_of_the_calibration_are_named(tmp_path: Path) -> None:
    clips, predictions = spoken(KO_LABELS, 60)
    calibration = calibrate(clips, predictions, MODELS)
    repeated = [*predictions, predictions[0]]
    found = judge(Path("clips.csv"), [*clips, clips[0]], repeated, MODELS, calibration)
    assert found.notes == (
        "1 of 61 clips repeat another's content: intervals are too narrow",
        "the calibration was fitted on 61 of these 61 clips: what it changes is flattered",
    )
    write_report(found, MODELS, tmp_path)
    assert "fitted on 61 of these 61" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["notes"] == list(found.notes)
    others = [heard("기쁨", JOY, content="another"), heard("기쁨", JOY, content="and another")]
    assert judge(Path("clips.csv"), CLIPS[:2], others, MODELS, calibration).notes == ()
