"""The entry service: HTTP in, one pipeline over three runners, HTTP out.

`POST /api/diary/analyze` keeps the original's contract, `POST /v1/analyze` answers everything that is known, and
`analyze` is the same as a BentoML API for BentoML's own clients.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
from collections.abc import Coroutine
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any

import bentoml
import numpy as np
from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from maeum.assembly import build_pipeline, device_of_ctranslate2, speech_calls
from maeum.audio.features import N_FRAMES
from maeum.audio.mfcc import N_MFCC
from maeum.batching import batching_stages
from maeum.errors import (
    MaeumError,
    MalformedForm,
    MethodNotAllowed,
    NotFound,
    StageOverloaded,
    StageTimeout,
)
from maeum.http import openapi, web
from maeum.http.form import largest_upload, read_form
from maeum.pipeline import Analysis
from maeum.process.cores import one_blas_thread
from maeum.process.logs import ERROR_CODE, PROBES, RequestLog
from maeum.process.memory import give_back_large_memory, loading
from maeum.room import UploadRoom, UploadShare
from maeum.schemas import AnalysisBody, ContractBody, ContractErrorBody, ErrorBody
from maeum.stages import Failure, SpeechItem
from runners import SpeechRunner, TextRunner, VoiceRunner
from runners.base import METRICS_DIR, SERVICE_OPTIONS, SETTINGS
from runners.bentoml_patches import count_only
from runners.calls import PROBE_TIMEOUT_S, RunnerCalls
from runners.connections import bound_connections
from runners.lifecycle import forget_dead_processes, load_or_stop

CONTRACT_PATH = "/api/diary/analyze"
ANALYZE_PATH = "/v1/analyze"
DOCS_PATH = "/docs.json"

# BentoML's dispatcher delays two of a runner's first calls, by two to four times what a call takes, to learn what
# batches take. The readiness probe makes those calls, which take no time, so that no recording has to wait.
_DISPATCHER_LESSONS = 12
_ASK_AGAIN_S = 2
_UNREAD = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.GATEWAY_TIMEOUT)

_log = logging.getLogger("maeum.service")
app = FastAPI(title="maeum", docs_url=None, redoc_url=None, openapi_url=None)
app.include_router(web.build_router(SETTINGS.max_duration_s))


class AnalyzeInput(bentoml.IODescriptor):
    """The form as BentoML's clients and docs see it; on the server `file` is the request, not read yet.

    BentoML's reader would take a URL in `file` and fetch it, and writes uploads to disk.
    """

    file: Path
    gender: str = "MALE"
    lang: str = "ko"
    summary: bool = True
    voice_pooling: str = ""
    baseline: str = ""

    @classmethod
    async def from_http_request(cls, request: Request, serde: Any) -> AnalyzeInput:
        """Hand the request on unread: whether there is a place for it is seen first."""
        values: AnalyzeInput = cls.model_construct(file=request)
        return values


@bentoml.service(name="maeum", **SERVICE_OPTIONS)
@bentoml.asgi_app(app, path="/")
class Maeum:
    """Voice diary in, transcript and emotions out."""

    speech = bentoml.depends(SpeechRunner)
    text = bentoml.depends(TextRunner)
    voice = bentoml.depends(VoiceRunner)

    def __init__(self) -> None:
        give_back_large_memory()
        one_blas_thread()
        forget_dead_processes(METRICS_DIR)
        speech = RunnerCalls("speech", self.speech)
        text = RunnerCalls("text", self.text)
        voice = RunnerCalls("voice", self.voice)
        self._runners = (speech, text, voice)
        # The way of a stage's items to their model: Pipeline → BatchingStage, which merges what waits → RunnerCalls, to
        # the other process → BentoML → the runner's BatchWorker, on a thread → the engine.
        n_speech_calls = load_or_stop(lambda settings: speech_calls(settings, device_of_ctranslate2(settings)))
        stages = batching_stages(speech, text, voice, SETTINGS, n_speech_calls)
        with loading():
            self._pipeline = build_pipeline(SETTINGS, stages)
        self._models_answered = False
        self._asking: asyncio.Task[None] | None = None
        self._in_flight = 0
        self._uploads = UploadRoom(max(SETTINGS.max_uploads_bytes, largest_upload(SETTINGS.max_upload_bytes)))

    @bentoml.api(route="/bentoml/analyze", input_spec=AnalyzeInput)
    async def analyze(self, file: Any, **_: Any) -> AnalysisBody:
        """Analyse one recording, for BentoML's own clients."""
        try:
            return AnalysisBody.of(await self._analyze_upload(file))
        except MaeumError as error:
            answer: Any = await _answer_error(file, error)  # BentoML sends a response on as it is
            return answer  # type: ignore[no-any-return]

    @app.post(ANALYZE_PATH, **openapi.ANALYZE)
    async def analyze_v1(self, request: Request) -> Response:
        """Analyse one recording."""
        return _json(AnalysisBody.of(await self._analyze_upload(request)))

    @app.post(CONTRACT_PATH, **openapi.CONTRACT)
    async def analyze_contract(self, request: Request) -> Response:
        """Analyse one recording; answers the original's two keys."""
        analysis = await self._analyze_upload(request, contract=True)
        response = _json(ContractBody.of(analysis))
        if analysis.warnings:  # its body has no place for them
            response.headers["X-Maeum-Warnings"] = ", ".join(analysis.warnings)
        return response

    async def _analyze_upload(self, request: Request, *, contract: bool = False) -> Analysis:
        if self._in_flight >= SETTINGS.max_in_flight:  # before the body is read: it would wait in memory
            raise StageOverloaded(f"{self._in_flight} requests are being worked on; try again later")
        self._in_flight += 1
        share = UploadShare(self._uploads)
        try:
            async with asyncio.timeout(SETTINGS.request_timeout_s):
                form = await read_form(request, SETTINGS.max_upload_bytes, share.take, contract=contract)
                options = self._pipeline.options(**form.options())
                analysis = self._pipeline.analyze(form.data, options, on_decoded=share.give_back)
                del form  # the pipeline alone holds the upload, and can let it go once it is decoded
                return await _unless_gone(request, analysis)
        except TimeoutError as error:
            raise StageTimeout(f"the request took longer than {SETTINGS.request_timeout_s:g} s") from error
        finally:
            share.give_back()
            self._in_flight -= 1

    async def __metrics__(self, metrics: str) -> str:
        """Leave out BentoML's batch sizes: they count calls, each of which already carries several requests' items."""
        return "".join(line for line in metrics.splitlines(keepends=True) if "adaptive_batch_size" not in line)

    async def __is_alive__(self) -> bool:
        """Whether every model that was asked has answered within the time that a request may take."""
        hanging = [runner.name for runner in self._runners if runner.hangs(SETTINGS.request_timeout_s)]
        if hanging:
            _log.error("event=model_hangs runners=%s", ",".join(hanging))
        return not hanging

    async def __is_ready__(self) -> bool:
        """Ready once each of the three models has answered through its runner, and while its process can be reached."""
        if not self._models_answered:
            if self._asking is None or self._asking.done():
                self._asking = asyncio.create_task(self._ask_at_first())
            await asyncio.wait((self._asking,), timeout=PROBE_TIMEOUT_S)
            return self._models_answered
        reached = await asyncio.gather(*(runner.can_be_reached() for runner in self._runners))
        if all(reached) and not await self.__is_alive__():
            with suppress(MaeumError, TimeoutError):  # nobody else will ask while this says no; an answer clears it
                async with asyncio.timeout(_ASK_AGAIN_S):
                    await self._ask_models()
        return all(reached) and await self.__is_alive__()

    async def _ask_at_first(self) -> None:
        """Learn whether each of the three models answers. It may take longer than a probe waits: the next waits on."""
        try:
            for _ in range(_DISPATCHER_LESSONS):
                await self._ask_models(past_vad=False)
            self._models_answered = await self._ask_models()
        except MaeumError as error:
            _log.info("event=not_ready code=%s", error.code)

    async def _ask_models(self, past_vad: bool = True) -> bool:
        """Whether each of the three models gives a result; the speech model is not asked unless `past_vad`."""
        stages = self._pipeline.stages
        answers = await asyncio.gather(
            stages.speech.run([SpeechItem(bytes(3200), min(self._pipeline.languages), past_vad=past_vad)]),
            stages.text.run(["안녕하세요"]),
            stages.voice.run(np.zeros((1, N_FRAMES, N_MFCC), np.float32)),
        )
        return not any(isinstance(result, Failure) for results in answers for result in results)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Analysis]) -> Analysis:
    """Work until the client has gone: nobody reads the answer, and others wait.

    Raises:
        MalformedForm: it has gone.
    """

    async def wait_for_the_end() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(wait_for_the_end())
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise MalformedForm("the client has gone")
        return await working
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
            gc.collect()  # what it held lies in cycles of tracebacks and frames, up to 40 MB of sound


@app.get(DOCS_PATH, include_in_schema=False)
async def _docs() -> Response:
    return _json_bytes(json.dumps(openapi.complete(_spec_of(Maeum)), ensure_ascii=False).encode())


async def _unknown(request: Request) -> Response:
    if request.url.path == ANALYZE_PATH:
        raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
    raise NotFound("there is no such route")


app.add_route("/v1/{path:path}", _unknown, methods=[], include_in_schema=False)  # no methods: whatever the method


@app.exception_handler(MaeumError)
async def _answer_error(request: Request, error: MaeumError) -> Response:
    """The one place where errors become answers."""
    request.scope[ERROR_CODE] = error.code
    body = ContractErrorBody(error=error.message) if request.url.path == CONTRACT_PATH else ErrorBody.of(error)
    response = _json(body, error.status)
    if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = "1"
    if error.status in _UNREAD:
        response.headers["Connection"] = "close"  # the rest of the body is not read
    return response


@app.exception_handler(HTTPException)
async def _answer_http_exception(request: Request, error: HTTPException) -> Response:
    allowed = (error.headers or {}).get("Allow", "")
    known = {404: NotFound("there is no such route"), 405: MethodNotAllowed(f"this route takes {allowed} only")}
    response = await _answer_error(request, known.get(error.status_code, MaeumError("the request failed")))
    response.headers.update(error.headers or {})
    return response


@app.exception_handler(Exception)
async def _answer_unexpected(request: Request, error: Exception) -> Response:
    return await _answer_error(request, MaeumError("an unexpected error happened"))


def _watch(entry: Any, runners: tuple[Any, ...]) -> None:
    """Log and count requests, those for BentoML's own routes too, but no paths that nobody serves."""
    apis = {api.route for service in (entry, *runners) for api in service.apis.values()}
    known = frozenset(apis | {CONTRACT_PATH, ANALYZE_PATH, DOCS_PATH, "/schema.json"} | web.PATHS | PROBES)
    entry.add_asgi_middleware(RequestLog, known_paths=known)
    count_only(known)


_watch(Maeum, (SpeechRunner, TextRunner, VoiceRunner))
bound_connections()


def _spec_of(service: Any) -> dict[str, Any]:
    spec: dict[str, Any] = service.openapi_spec.asdict()
    return spec


def _json(body: BaseModel, status: int = HTTPStatus.OK) -> Response:
    return _json_bytes(body.model_dump_json().encode(), status)


def _json_bytes(content: bytes, status: int = HTTPStatus.OK) -> Response:
    return Response(content, status, media_type="application/json; charset=utf-8")
