from __future__ import annotations

import asyncio
import io
import json
import os
import select
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import maeum
from maeum.errors import EmptyAudio, InvalidField, UndecodableAudio, UnsupportedLanguage, UploadTooLarge
from maeum.local import analyze, read_upload, run_pipeline_on_uploaded_file
from maeum.schemas import AnalysisBody
from maeum.settings import Settings
from tests.conftest import Clip

LIMIT = 25 * 1024 * 1024
FORK_TIMEOUT_S = 120


class Upload:
    """What Django hands to a view."""

    def __init__(self, data: bytes, size: int = 1_000) -> None:
        self.data, self.size, self.taken = data, size, 0

    def chunks(self) -> Iterator[bytes]:
        for start in range(0, len(self.data), self.size):
            self.taken += 1
            yield self.data[start : start + self.size]


class Counting(io.BytesIO):
    """A file that remembers how much was asked for."""

    asked = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.asked = max(self.asked, -1 if size is None else size)
        return super().read(size)


class Trickle(io.BytesIO):
    """A raw stream, such as a socket: each read gives what is there, which may be less than is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(7 if size is None or size < 0 else min(size, 7))


@pytest.fixture(scope="module")
def answer(clip: Clip) -> dict[str, Any]:
    return run_pipeline_on_uploaded_file(clip.data, clip.gender)


def assert_same(result: dict[str, Any], expected: dict[str, Any]) -> None:
    assert result["summary"] == expected["summary"]
    assert result["emotion_analysis"] == pytest.approx(expected["emotion_analysis"], abs=1e-4)


def test_the_answer_has_the_two_keys_of_the_contract(answer: dict[str, Any]) -> None:
    assert list(answer) == ["summary", "emotion_analysis"]
    assert answer["summary"].startswith("(요약 실패) ")
    assert len(answer["emotion_analysis"]) == 6
    assert all(isinstance(value, float) and 0 <= value <= 1 for value in answer["emotion_analysis"])
    assert sum(answer["emotion_analysis"]) == pytest.approx(1, abs=1e-6)
    assert json.loads(json.dumps(answer)) == answer


def test_the_package_offers_the_calls() -> None:
    assert maeum.run_pipeline_on_uploaded_file is run_pipeline_on_uploaded_file
    assert maeum.analyze is analyze


def test_the_full_answer_is_that_of_http(clip: Clip, answer: dict[str, Any]) -> None:
    full = analyze(clip.data, clip.gender, summary=False, voice_pooling="windows")
    assert full == AnalysisBody.model_validate(full).model_dump()
    assert full["transcript"]["text"]
    assert full["summary"]["reason"] == "not_requested"
    first = analyze(clip.data, clip.gender)
    assert first["emotion"]["probabilities"] == pytest.approx(answer["emotion_analysis"], abs=1e-4)
    baseline = json.dumps({"mean": [0.0] * 13, "std": [50.0] * 13})
    assert analyze(clip.data, baseline=baseline)["voice_emotion"] != pytest.approx(first["voice_emotion"], abs=1e-3)
    with pytest.raises(InvalidField, match="voice_pooling"):
        analyze(clip.data, voice_pooling="all")


@pytest.mark.parametrize(
    "give",
    [
        lambda clip: bytearray(clip.data),
        lambda clip: memoryview(clip.data),
        lambda clip: clip.path,
        lambda clip: str(clip.path),
        lambda clip: io.BytesIO(clip.data),
        lambda clip: Upload(clip.data),
        lambda clip: Upload(clip.data, len(clip.data)),
    ],
    ids=["bytearray", "memoryview", "path", "str", "file", "chunks", "one chunk"],
)
def test_any_kind_of_file_gives_the_same_answer(
    clip: Clip, answer: dict[str, Any], give: Callable[[Clip], Any]
) -> None:
    assert_same(run_pipeline_on_uploaded_file(give(clip), clip.gender), answer)


def test_an_open_file_gives_the_same_answer(clip: Clip, answer: dict[str, Any]) -> None:
    with clip.path.open("rb") as stream:
        assert_same(run_pipeline_on_uploaded_file(stream, clip.gender), answer)


def test_gender_in_any_case_and_defaults(clip: Clip, answer: dict[str, Any]) -> None:
    assert clip.gender == "MALE"
    assert_same(run_pipeline_on_uploaded_file(clip.data), answer)
    assert_same(run_pipeline_on_uploaded_file(clip.data, None, None), answer)
    assert_same(run_pipeline_on_uploaded_file(clip.data, gender="male", lang="KO"), answer)
    female = run_pipeline_on_uploaded_file(clip.data, "FEMALE")
    assert female["emotion_analysis"] != answer["emotion_analysis"]


def test_it_equals_the_pipeline(clips: list[Clip], pipeline: Any) -> None:
    clip = clips[7]
    analysis = asyncio.run(pipeline.analyze(clip.data, pipeline.options(clip.gender)))
    result = run_pipeline_on_uploaded_file(clip.data, clip.gender)
    assert result["emotion_analysis"] == pytest.approx(list(analysis.probabilities), abs=1e-4)


# errors


def test_wrong_arguments_are_refused(clip: Clip) -> None:
    with pytest.raises(InvalidField) as caught:
        run_pipeline_on_uploaded_file(clip.data, gender="OTHER")
    assert caught.value.code == "invalid_gender"
    with pytest.raises(InvalidField) as caught:
        run_pipeline_on_uploaded_file(clip.data, lang="k!")
    assert caught.value.code == "invalid_lang"
    with pytest.raises(UnsupportedLanguage):
        run_pipeline_on_uploaded_file(clip.data, lang="xx")


@pytest.mark.parametrize(("data", "error"), [(b"", EmptyAudio), (b"no audio", UndecodableAudio)])
def test_files_that_hold_no_audio_are_refused(data: bytes, error: type[Exception]) -> None:
    with pytest.raises(error):
        run_pipeline_on_uploaded_file(data)


def test_a_file_that_is_too_large_is_refused() -> None:
    with pytest.raises(UploadTooLarge, match=str(LIMIT)):
        run_pipeline_on_uploaded_file(bytes(LIMIT + 1))


def test_a_path_that_is_not_there_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        run_pipeline_on_uploaded_file(tmp_path / "missing.wav")


def test_after_an_error_the_next_call_works(clip: Clip, answer: dict[str, Any]) -> None:
    with pytest.raises(UndecodableAudio):
        run_pipeline_on_uploaded_file(b"no audio")
    assert_same(run_pipeline_on_uploaded_file(clip.data, clip.gender), answer)


# read_upload


@pytest.mark.parametrize("file", [None, 3, 1.5, ["a"], object()])
def test_what_is_no_file_is_a_type_error(file: Any) -> None:
    with pytest.raises(TypeError, match=type(file).__name__):
        read_upload(file, 100)


def test_a_text_file_is_a_type_error() -> None:
    text: Any = io.StringIO("sound")
    with pytest.raises(TypeError):
        read_upload(text, 100)


def test_chunks_are_counted_while_they_come() -> None:
    upload = Upload(bytes(100_000), 1_000)
    with pytest.raises(UploadTooLarge):
        read_upload(upload, 4_500)
    assert upload.taken == 5


def test_no_more_of_a_file_is_read_than_is_allowed(tmp_path: Path) -> None:
    stream = Counting(bytes(100_000))
    with pytest.raises(UploadTooLarge):
        read_upload(stream, 4_500)
    assert stream.asked == 4_501
    path = tmp_path / "large.wav"
    with path.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(UploadTooLarge):
        read_upload(path, 4_500)


def test_a_raw_stream_is_read_to_its_end() -> None:
    data = bytes(range(200))
    assert read_upload(Trickle(data), 200) == data
    with pytest.raises(UploadTooLarge):
        read_upload(Trickle(data), 199)


def test_a_file_is_read_from_where_it_stands() -> None:
    stream = io.BytesIO(b"0123456789")
    stream.seek(4)
    assert read_upload(stream, 100) == b"456789"


@given(st.binary(max_size=300), st.integers(1, 300), st.integers(1, 50))
def test_all_kinds_give_the_same_bytes_up_to_the_limit(data: bytes, limit: int, size: int) -> None:
    for file in (data, bytearray(data), memoryview(data), io.BytesIO(data), Upload(data, size)):
        if len(data) <= limit:
            assert read_upload(file, limit) == data  # type: ignore[arg-type]
        else:
            with pytest.raises(UploadTooLarge):
                read_upload(file, limit)  # type: ignore[arg-type]


# threads, loops and processes


def test_several_threads_get_their_own_answers(clips: list[Clip]) -> None:
    chosen = clips[:6]
    expected = [run_pipeline_on_uploaded_file(clip.data, clip.gender) for clip in chosen]
    with ThreadPoolExecutor(6) as threads:
        results = list(threads.map(lambda clip: run_pipeline_on_uploaded_file(clip.data, clip.gender), chosen * 2))
    for result, wanted in zip(results, expected * 2, strict=True):
        assert_same(result, wanted)


def test_it_works_inside_a_running_event_loop(clip: Clip, answer: dict[str, Any]) -> None:
    async def view() -> dict[str, Any]:
        return run_pipeline_on_uploaded_file(clip.data, clip.gender)

    async def in_a_thread() -> dict[str, Any]:
        return await asyncio.to_thread(run_pipeline_on_uploaded_file, clip.data, clip.gender)

    assert_same(asyncio.run(view()), answer)
    assert_same(asyncio.run(in_a_thread()), answer)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_answers_too(clip: Clip, answer: dict[str, Any]) -> None:
    """As under a server that loads the application first and forks its workers then."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            result = run_pipeline_on_uploaded_file(clip.data, clip.gender)
            os.write(writer, json.dumps(result).encode())
        finally:
            os._exit(0)
    os.close(writer)
    try:
        ready, _, _ = select.select([reader], [], [], FORK_TIMEOUT_S)
        assert ready, "the child gave no answer"
        with os.fdopen(reader, "rb", closefd=False) as stream:
            result = json.loads(stream.read() or b"null")
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(reader)
    assert result is not None
    assert_same(result, answer)
    assert_same(run_pipeline_on_uploaded_file(clip.data, clip.gender), answer)  # the parent lost nothing


def test_the_limit_is_the_settings(settings: Settings) -> None:
    assert settings.max_upload_bytes == LIMIT
