"""Which rows of a list a figure and its interval count: words of nobody, speakers, either pooling."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from maeum.evaluation.manifest import Clip
from maeum.evaluation.report import render
from maeum.evaluation.run import judge, write_report
from tests.unit.test_evaluation_calibrate import MODELS
from tests.unit.test_evaluation_report import CLIPS, FEAR, JOY, clip, heard


@pytest.mark.parametrize(("n_speakers", "drawn_by"), [(5, "speakers"), (4, "clips")])
def test_intervals_draw_speakers_where_there_are_enough(n_speakers: int, drawn_by: str) -> None:
    clips = [replace(clip(f"{n}.wav", "말", "기쁨"), speaker=str(n % n_speakers)) for n in range(20)]
    outcomes = [heard("기쁨" if n % 3 else "슬픔", JOY, said="말" if n % 3 else "발") for n in range(20)]
    found = judge(Path("clips.csv"), clips, outcomes, MODELS, None)
    korean = found.emotions["korean"]
    assert {*korean.drawn_by.values(), found.transcripts_drawn_by} == {drawn_by}
    assert render(found).count(f"Intervals draw {drawn_by}.") == 2
    one_without = [replace(clips[0], speaker=None), *clips[1:]]
    assert judge(Path("clips.csv"), one_without, outcomes, MODELS, None).transcripts_drawn_by == "clips"


def test_a_table_of_few_speakers_draws_clips_whatever_the_others_are() -> None:
    clips = [replace(clip(f"{n}.wav", emotion="기쁨"), speaker=str(n)) for n in range(8)]
    clips[0] = replace(clips[0], emotion="HAPPY")
    found = judge(Path("clips.csv"), clips, [heard("기쁨", JOY)] * 8, MODELS, None)
    drawn_by = {space: set(scores.drawn_by.values()) for space, scores in found.emotions.items()}
    assert drawn_by == {"korean": {"speakers"}, "english": {"clips"}}


def test_words_of_nobody_do_not_decide_what_the_voices_intervals_draw() -> None:
    clips = [replace(clip(f"{n}.wav", emotion="기쁨"), speaker=str(n % 5)) for n in range(10)]
    words = Clip(12, "line 12", None, "말", "기쁨")
    found = judge(Path("clips.csv"), [*clips, words], [heard("기쁨", JOY)] * 10 + [heard("기쁨", None)], MODELS, None)
    drawn_by = found.emotions["korean"].drawn_by
    assert (drawn_by["text"], drawn_by["fused"], drawn_by["fused less text"]) == ("clips", "speakers", "speakers")
    assert "Intervals draw clips for text, text, mean; speakers for voice, projected, fused" in render(found)


def test_words_that_nobody_spoke_are_scored_as_words_and_fused_with_nothing(tmp_path: Path) -> None:
    clips = [Clip(2, "line 2", None, "말", "기쁨"), Clip(3, "line 3", None, "말", "슬픔")]
    found = judge(Path("words.csv"), clips, [heard("기쁨", None), heard("기쁨", None)], MODELS, None)
    assert found.transcripts is None
    scores = found.emotions["korean"].by_modality
    accuracies = {name: one and one.accuracy.value for name, one in scores.items()}
    assert accuracies == {"text": 0.5, "text, mean": 0.5, "voice, projected": None, "fused": None}
    assert found.emotions["korean"].fused_less["text"] is None
    write_report(found, MODELS, tmp_path)
    assert [row["fused_top"] for row in pq.read_table(tmp_path / "predictions.parquet").to_pylist()] == [None, None]
    errors = (tmp_path / "report.html").read_text(encoding="utf-8").split("<h3>The surest errors")
    assert len(errors) == 2  # nothing is fused
    assert errors[1].startswith(", words, at most")
    assert "<td>line 3</td><td>슬픔</td><td>기쁨</td><td>0.900</td>" in errors[1]
    assert "line 2" not in errors[1].split("</table>")[0]


def test_the_mean_of_probabilities_is_scored_beside_the_votes() -> None:
    scores = judge(Path("words.csv"), CLIPS[:1], [heard("기쁨", JOY)], MODELS, None).emotions["korean"].by_modality
    votes, mean = scores["text"], scores["text, mean"]
    assert votes is not None
    assert mean is not None
    assert (votes.ece, votes.log_loss) == pytest.approx((0.0, 0.0), abs=1e-6)
    assert (mean.ece, mean.log_loss) == pytest.approx((0.1, -np.log(0.9)))


def test_an_english_label_of_words_only_is_left_out_of_the_voices_figures() -> None:
    clips = [clip("a.wav", "말", "FEAR"), Clip(3, "line 3", None, "말", "FEAR")]
    found = judge(Path("words.csv"), clips, [heard("불안", FEAR), heard("불안", None)], MODELS, None)
    scores = found.emotions["english"].by_modality
    assert scores["voice"] is not None
    assert scores["fused"] is not None
    assert (scores["voice"].n_clips, scores["fused"].n_clips) == (1, 1)
