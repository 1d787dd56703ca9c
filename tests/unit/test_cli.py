"""The command line's arguments, cards and order of work, without models."""

from __future__ import annotations

import asyncio
import io
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from rich.cells import cell_len
from rich.console import Console

from maeum import __version__
from maeum.audio.features import Baseline, Baselines
from maeum.audio.resampling import SAMPLE_RATE_HZ
from maeum.cli import main
from maeum.cli.analyze import analyze_files
from maeum.cli.cards import print_card
from maeum.cli.terminal import printable
from maeum.fusion import EN_LABELS, KO_LABELS, Fusion, Projection
from maeum.local import FILES_IN_FLIGHT
from maeum.pipeline import Pipeline
from maeum.schemas import (
    AnalysisBody,
    EmotionBody,
    ErrorDetail,
    ModelsBody,
    SummaryBody,
    TranscriptBody,
)
from maeum.settings import PROJECT_DIR, Settings
from maeum.stages import Failure, Probabilities, SpeechItem, Stages, Transcript
from maeum.summary import Summarizer

UNIFORM: Probabilities = (1 / 6,) * 6


class Speech:
    """Says how long a recording is; answers for the longest only after `others` more recordings."""

    def __init__(self, longest: int = 0, others: int = 0) -> None:
        self.longest, self.others = longest, others
        self.others_done = asyncio.Event()
        self.running = self.most = 0

    async def run(self, items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        n_samples = len(items[0].pcm16) // 2
        self.running += 1
        self.most = max(self.most, self.running)
        if n_samples == self.longest:
            await self.others_done.wait()
        else:
            self.others -= 1
            if self.others == 0:
                self.others_done.set()
        self.running -= 1
        return [Transcript(f"{n_samples}")]


class Text:
    async def run(self, items: Sequence[str]) -> list[Probabilities | Failure]:
        return [UNIFORM for _ in items]


class Voice:
    async def run(self, items: NDArray[np.float32]) -> list[Probabilities | Failure]:
        return [UNIFORM for _ in items]


def make_pipeline(speech: Speech) -> Pipeline:
    baseline = Baseline(np.zeros(13, np.float32), np.ones(13, np.float32))
    return Pipeline(
        stages=Stages(speech, Text(), Voice()),
        summarizer=Summarizer(Settings(summary="off")),
        fusion=Fusion(Projection.load(None), KO_LABELS, EN_LABELS, 0.7, 0.3),
        baselines=Baselines(baseline, baseline),
        languages=frozenset({"ko"}),
        model_names={"speech": "s", "text": "t", "voice": "v"},
    )


def write_wav(path: Path, n_samples: int) -> str:
    soundfile.write(path, np.full(n_samples, 0.1, np.float32), SAMPLE_RATE_HZ)
    return str(path)


def collect(
    pipeline: Pipeline, files: Sequence[str], max_upload_bytes: int = 1_000_000
) -> list[tuple[str, AnalysisBody | ErrorDetail]]:
    async def run() -> list[tuple[str, AnalysisBody | ErrorDetail]]:
        return [one async for one in analyze_files(pipeline, pipeline.options(), files, max_upload_bytes)]

    return asyncio.run(run())


def test_files_are_worked_on_together_and_come_out_in_order(tmp_path: Path) -> None:
    sizes = [9_000, *range(2_100, 2_100 + 100 * 11, 100)]
    files = [write_wav(tmp_path / f"{size}.wav", size) for size in sizes]
    speech = Speech(longest=sizes[0], others=len(sizes) - 1)
    outcomes = collect(make_pipeline(speech), files)
    assert [file for file, _ in outcomes] == files
    assert [body.transcript.text for _, body in outcomes if isinstance(body, AnalysisBody)] == list(map(str, sizes))
    assert 2 <= speech.most <= FILES_IN_FLIGHT


def test_an_archive_is_not_begun_all_at_once(tmp_path: Path) -> None:
    speech = Speech()
    file = write_wav(tmp_path / "a.wav", 2_100)

    async def run() -> int:
        outcomes = analyze_files(pipeline := make_pipeline(speech), pipeline.options(), [file] * 500, 1_000_000)
        await anext(outcomes)
        began = len(asyncio.all_tasks())
        await outcomes.aclose()
        return began

    assert asyncio.run(run()) < 200


def test_a_bad_file_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no audio")
    (tmp_path / "empty.wav").touch()
    files = [
        str(tmp_path / "nowhere.wav"),
        str(tmp_path),
        str(tmp_path / "bad.wav"),
        str(tmp_path / "empty.wav"),
        write_wav(tmp_path / "large.wav", 5_000),
        write_wav(tmp_path / "good.wav", 2_100),
    ]
    outcomes = [body for _, body in collect(make_pipeline(Speech()), files, max_upload_bytes=8_000)]
    assert isinstance(outcomes.pop(), AnalysisBody)
    assert [body.code for body in outcomes if isinstance(body, ErrorDetail)] == [
        "file_not_found",
        "unreadable_file",
        "undecodable_audio",
        "empty_audio",
        "upload_too_large",
    ]


def test_a_defect_on_one_file_does_not_stop_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech = Speech()
    transcribe = speech.run

    async def run(items: Sequence[SpeechItem]) -> list[Transcript | Failure]:
        if len(items[0].pcm16) == 2 * 3_000:
            raise RuntimeError("a private detail")
        return await transcribe(items)

    monkeypatch.setattr(speech, "run", run)
    files = [write_wav(tmp_path / "a.wav", 3_000), write_wav(tmp_path / "b.wav", 2_100)]
    (_, first), (_, second) = collect(make_pipeline(speech), files)
    assert first == ErrorDetail(code="internal_error", message="an unexpected error happened: RuntimeError")
    assert isinstance(second, AnalysisBody)


def make_analysis(**changes: Any) -> AnalysisBody:
    body = AnalysisBody(
        transcript=TranscriptBody(
            text="오늘 친구를 만나서 정말 기뻤다. 그런데 저녁에는 조금 쓸쓸했다. 그래도 괜찮은 하루였다.",
            language="ko",
            duration_s=72.34,
            confidence=0.9,
            segments=[],
        ),
        emotion=EmotionBody(labels=list(KO_LABELS), probabilities=[0.1, 0.02, 0.05, 0.06, 0.07, 0.7], top="슬픔"),
        text_emotion=None,
        voice_emotion=dict(zip(EN_LABELS, (0.1, 0.5, 0.0, 0.25, 0.1, 0.05), strict=True)),
        summary=SummaryBody(status="ok", text="친구를 만나 참 기쁘셨겠어요.", reason=None),
        warnings=[],
        models=ModelsBody(speech="s", text="t", voice="v", summary=None),
        timings_ms={"total": 1234.5},
    )
    return body.model_copy(update=changes)


def card(analysis: AnalysisBody, *, file: str = "일기 [bold].wav", width: int = 60) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False, emoji=False)
    print_card(console, file, analysis)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 61, 100])
def test_a_card_is_aligned_whatever_the_width_of_its_letters(width: int) -> None:
    lines = card(make_analysis(), width=width).splitlines()
    assert {cell_len(line) for line in lines} == {width}


def test_a_card_tells_everything_in_label_order() -> None:
    text = card(make_analysis())
    assert "일기 [bold].wav" in text
    assert "1:12.3" in text
    assert "1.2 s" in text
    rows = [line.strip("│ ") for line in text.splitlines() if line.endswith("% │")]
    assert [row.removeprefix("▸ ")[:2] for row in rows] == list(KO_LABELS)
    assert [row.split()[-2] for row in rows] == ["10.0", "2.0", "5.0", "6.0", "7.0", "70.0"]
    assert [row.startswith("▸") for row in rows] == [False] * 5 + [True]
    bars = [row.count("█") for row in rows]
    assert bars[5] > 5 * bars[0] > 0
    assert "SAD 50.0 % · HAPPY 25.0 % · ANGRY 10.0 %" in text
    assert "친구를 만나 참 기쁘셨겠어요." in text


def test_a_card_says_why_there_is_no_summary_and_what_is_odd() -> None:
    silent = make_analysis(
        transcript=TranscriptBody(text="", language="ko", duration_s=1.0, confidence=None, segments=[]),
        summary=SummaryBody(status="skipped", text=None, reason="no_speech"),
        warnings=["no_speech", "from_the_future"],
    )
    text = card(silent, width=80)
    assert "(nothing was said)" in text
    assert "none (no_speech) 요약할 말소리가 없어요." in text
    assert "the voice alone decides" in text
    assert "from_the_future" in text


def test_nothing_in_a_card_can_steer_the_terminal() -> None:
    assert printable("a\x1b[2Jb\r\u202e") == "a�[2Jb��"
    text = card(make_analysis(), file="\x1b[2J.wav")
    assert "\x1b" not in text


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--version"])
    assert exit_.value.code == 0
    assert capsys.readouterr().out == f"maeum {__version__}\n"


def test_the_package_is_the_command_where_none_is_installed(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_DIR)}
    command = [sys.executable, "-m", "maeum", "--version"]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert answer.stdout == f"maeum {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["analyze"],
        ["analyze", "--gender", "OTHER", "a.wav"],
        ["analyze", "--unknown", "a.wav"],
        ["models"],
        ["models", "verify", "image"],
        ["models", "fetch", "--profile", "other"],
    ],
)
def test_wrong_usage_is_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("usage: maeum")


@pytest.mark.parametrize("arguments", [["--help"], ["analyze", "--help"], ["models", "fetch", "--help"]])
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from maeum.cli import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit as exit_:\n"
        "    heavy = {'torch', 'transformers', 'librosa', 'numpy', 'pydantic', 'rich', 'openai'} & set(sys.modules)\n"
        "    sys.exit(str(heavy) if heavy else exit_.code)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("usage: maeum")
