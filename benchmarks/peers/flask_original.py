"""The sequential original in a Flask process with one worker."""

from __future__ import annotations

import sys
from typing import Any

from flask import Flask, request

from benchmarks.server import ANALYZE_PATH
from benchmarks.suite import original_of
from maeum.settings import get_settings


def build_app() -> Flask:
    """Flask over the models that the environment names."""
    settings = get_settings()
    original = original_of(settings, settings.device)
    original.load()
    app = Flask(__name__)

    @app.post(ANALYZE_PATH)
    def analyze() -> dict[str, Any]:
        return {"emotion_analysis": original.analyze(request.files["file"].read())}

    @app.get("/health")
    def health() -> str:
        return "ok"

    return app


if __name__ == "__main__":
    build_app().run("127.0.0.1", int(sys.argv[1]), threaded=False)
