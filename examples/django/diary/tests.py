"""The view with the embedded models, through Django's own test client."""

import io
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from unittest import mock

import soundfile
from django.core.files.uploadedfile import InMemoryUploadedFile, SimpleUploadedFile, TemporaryUploadedFile
from django.test import Client, SimpleTestCase

from diary import views

URL = "/api/diary/analyze"
CLIPS = sorted((Path(__file__).resolve().parents[3] / "tests" / "data").glob("diary_*.flac"))


def post(data: bytes, **fields: str) -> Any:
    return Client().post(URL, {"file": SimpleUploadedFile("diary.wav", data), **fields})


def as_large_wav(clip: Path) -> bytes:
    samples, rate_hz = soundfile.read(clip, dtype="float32", always_2d=True)
    buffer = io.BytesIO()
    channels = 1 + 3_000_000 // (samples.shape[0] * 8)
    soundfile.write(buffer, samples.repeat(channels, axis=1), rate_hz, format="WAV", subtype="DOUBLE")
    return buffer.getvalue()


class AnalyzeTest(SimpleTestCase):
    def assert_contract(self, response: Any) -> dict[str, Any]:
        assert response.status_code == 200, response.content
        assert response["Content-Type"] == "application/json; charset=utf-8"
        body: dict[str, Any] = response.json()
        assert list(body) == ["summary", "emotion_analysis"]
        assert len(body["emotion_analysis"]) == 6
        assert abs(sum(body["emotion_analysis"]) - 1) < 1e-6
        return body

    def assert_error(self, response: Any, status: int) -> str:
        assert response.status_code == status, response.content
        body = response.json()
        assert list(body) == ["error"]
        message: str = body["error"]
        return message

    def test_answers_the_contract_in_plain_korean(self) -> None:
        response = post(CLIPS[0].read_bytes(), gender="FEMALE", lang="ko")
        self.assert_contract(response)
        assert "(요약 실패)" in response.content.decode()

    def test_gender_and_lang_have_defaults(self) -> None:
        data = CLIPS[0].read_bytes()
        assert self.assert_contract(post(data)) == self.assert_contract(post(data, gender="male", lang="ko"))

    def test_a_large_file_that_django_spools_to_disk_gives_the_same_answer(self) -> None:
        data = as_large_wav(CLIPS[0])
        with mock.patch.object(
            views, "run_pipeline_on_uploaded_file", wraps=views.run_pipeline_on_uploaded_file
        ) as call:
            spooled = self.assert_contract(post(data))
            with self.settings(FILE_UPLOAD_MAX_MEMORY_SIZE=2 * len(data)):
                in_memory = self.assert_contract(post(data))
        kinds = [type(args.args[0]) for args in call.call_args_list]
        assert kinds == [TemporaryUploadedFile, InMemoryUploadedFile]
        assert spooled == in_memory

    def test_threads_at_once_each_get_their_own_answer(self) -> None:
        data = [clip.read_bytes() for clip in CLIPS[:3]]
        alone = [self.assert_contract(post(one))["emotion_analysis"] for one in data]
        with ThreadPoolExecutor(6) as pool:
            together = [self.assert_contract(one)["emotion_analysis"] for one in pool.map(post, data * 2)]
        for expected, got in zip(alone * 2, together, strict=True):
            assert max(abs(p - q) for p, q in zip(expected, got, strict=True)) < 1e-4, (expected, got)

    def test_a_call_without_a_file_is_400(self) -> None:
        assert "file" in self.assert_error(Client().post(URL, {"gender": "MALE"}), 400)

    def test_file_sent_as_text_is_400(self) -> None:
        self.assert_error(Client().post(URL, {"file": "not a file"}), 400)

    def test_a_wrong_gender_is_422(self) -> None:
        assert "gender" in self.assert_error(post(CLIPS[0].read_bytes(), gender="OTHER"), 422)

    def test_a_wrong_lang_is_422(self) -> None:
        assert "lang" in self.assert_error(post(CLIPS[0].read_bytes(), lang="한국어"), 422)

    def test_empty_and_undecodable_files_are_422(self) -> None:
        self.assert_error(post(b""), 422)
        self.assert_error(post(b"no audio at all"), 422)

    def test_other_methods_are_405(self) -> None:
        for method in ("get", "put", "delete", "patch"):
            assert getattr(Client(), method)(URL).status_code == 405

    def test_apps_need_no_csrf_token(self) -> None:
        response = Client(enforce_csrf_checks=True).post(URL, {"gender": "MALE"})
        self.assert_error(response, 400)
