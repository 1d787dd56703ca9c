"""The engines behind FastAPI: every request calls them on a thread of a pool, nothing is batched."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import FastAPI, UploadFile

from benchmarks.peers import TUNED
from benchmarks.peers.prepare import load_engines
from benchmarks.server import ANALYZE_PATH
from maeum.assembly import build_pipeline
from maeum.schemas import AnalysisBody
from maeum.settings import get_settings
from maeum.stages import Stages


@dataclass(frozen=True, slots=True)
class ThreadStage:
    """Calls an engine for one request alone."""

    engine: Callable[[Any], list[Any]]

    async def run(self, items: Any) -> list[Any]:
        """Compute one result per item."""
        return await asyncio.to_thread(self.engine, items)


def build_app(*, tuned: bool) -> FastAPI:
    """FastAPI over the models that the environment names."""
    settings = get_settings()
    stages = Stages(*(ThreadStage(engine) for engine in load_engines(settings, tuned=tuned)))
    pipeline = build_pipeline(settings, stages)
    options = pipeline.options(lang=min(pipeline.languages))
    app = FastAPI()

    @app.post(ANALYZE_PATH)
    async def analyze(file: UploadFile) -> AnalysisBody:
        return AnalysisBody.of(await pipeline.analyze(await file.read(), options))

    @app.get("/health")
    async def health() -> str:
        return "ok"

    return app


if __name__ == "__main__":
    uvicorn.run(build_app(tuned=TUNED in sys.argv), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning")
