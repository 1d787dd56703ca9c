"""The summary, end to end: the real server against a local server that speaks Chat Completions."""

from __future__ import annotations

from pathlib import Path

import httpx

from tests.chat_server import ChatServer, completion, error
from tests.conftest import Clip, serve


def test_summary_is_written_and_fails_without_harm(tmp_path: Path, clip: Clip) -> None:
    answer = completion("친구를 만나 즐거우셨겠어요.")
    with ChatServer(answer, answer, error(401)) as chat:
        environment = {"OPENAI_API_KEY": "sk-secret", "OPENAI_BASE_URL": chat.base_url, "MAEUM_SUMMARY_MODEL": "tiny"}
        with serve(tmp_path / "log.txt", **environment) as server:
            full = httpx.post(f"{server}/v1/analyze", files={"file": clip.data}, timeout=60).json()
            contract = httpx.post(f"{server}/api/diary/analyze", files={"file": clip.data}, timeout=60).json()
            harmed = httpx.post(f"{server}/api/diary/analyze", files={"file": clip.data}, timeout=60).json()

    assert full["summary"] == {"status": "ok", "text": "친구를 만나 즐거우셨겠어요.", "reason": None}
    assert full["models"]["summary"] == "tiny"
    assert contract["summary"] == "친구를 만나 즐거우셨겠어요."
    assert harmed["summary"].startswith("(요약 실패) ")
    assert harmed["emotion_analysis"] == contract["emotion_analysis"]
    assert "sk-secret" not in (tmp_path / "log.txt").read_text(errors="replace")
