"""The engines behind LitServe with its batching: one worker decodes a batch on threads and runs each model once."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

import litserve
from fastapi import Request

from benchmarks.peers import TUNED
from benchmarks.peers.prepare import load_engines
from benchmarks.server import ANALYZE_PATH
from maeum.assembly import build_pipeline
from maeum.batching import batching_stages
from maeum.schemas import AnalysisBody
from maeum.settings import get_settings
from maeum.stages import Stages


class WholeBatch:
    """A stage that waits until every recording of a batch has come, then calls the engine once.

    Args:
        engine: computes a batch.
        size: recordings in the batch, one item each.
    """

    def __init__(self, engine: Callable[[Any], list[Any]], size: int) -> None:
        self._engine, self._size = engine, size
        self._items: list[Any] = []
        self._complete: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    async def run(self, items: Any) -> list[Any]:
        """Compute the result of one recording."""
        place = len(self._items)
        self._items.extend(items)
        if len(self._items) == self._size:
            self._complete.set_result(self._engine(self._items))
        return [(await self._complete)[place]]


def _call(engine: Callable[[Any], list[Any]]) -> Callable[[Any], Awaitable[list[Any]]]:
    async def call(items: Any) -> list[Any]:
        return engine(items)

    return call


class MaeumAPI(litserve.LitAPI):
    """The pipeline as LitServe's hooks.

    Args:
        tuned: whether its process is set up as maeum's own.
        options: LitServe's.
    """

    def __init__(self, *, tuned: bool, **options: Any) -> None:
        super().__init__(**options)
        self._tuned = tuned

    def setup(self, device: str) -> None:
        """Load the models that the environment names."""
        settings = get_settings()
        self._speech, text, voice = load_engines(settings, tuned=self._tuned)
        # Recordings that were heard together ask for the next stages together, and so share a call there too.
        self._rest = batching_stages(_call(self._speech), _call(text), _call(voice), settings)
        self._pipeline = build_pipeline(settings, self._rest)
        self._options = self._pipeline.options(lang=min(self._pipeline.languages))

    def decode_request(self, request: Request) -> bytes:
        """Take the file out of the form, which LitServe has parsed."""
        form: Any = request
        data: bytes = form["file"].file.read()
        return data

    def predict(self, files: Sequence[bytes]) -> list[dict[str, Any]]:
        """Analyse a batch."""
        return asyncio.run(self._analyze(files))

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        """Leave the answer as it is."""
        return output

    async def _analyze(self, files: Sequence[bytes]) -> list[dict[str, Any]]:
        stages = Stages(WholeBatch(self._speech, len(files)), self._rest.text, self._rest.voice)
        pipeline = replace(self._pipeline, stages=stages)
        analyses = await asyncio.gather(*(pipeline.analyze(data, self._options) for data in files))
        return [AnalysisBody.of(analysis).model_dump() for analysis in analyses]


if __name__ == "__main__":
    # LitServe's default: a lone request does not wait, and a batch is all that waits. A clip takes a millisecond out of
    # the queue, so that timeouts cut batches short: 2 ms after one or two, 10 ms before there are 16.
    batches: dict[str, Any] = {"max_batch_size": get_settings().speech_batch, "batch_timeout": 0.0}
    api = MaeumAPI(tuned=TUNED in sys.argv, api_path=ANALYZE_PATH, **batches)
    server = litserve.LitServer(api, timeout=False, accelerator="auto")
    server.run(host="127.0.0.1", port=int(sys.argv[1]), generate_client_file=False, log_level="warning")
