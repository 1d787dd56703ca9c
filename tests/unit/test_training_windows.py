"""What the speech model's windows teach: where a text ends, and when."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import numpy as np
import pytest
from speech_noise import NoiseBank
from speech_voice import SAMPLE_RATE_HZ, Pool
from speech_windows import WINDOW_S, Builder, Plan
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
TEXT = "가나다라마바사아자차."
N_WINDOWS = 120


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "models" / "embedded" / "speech" / "tokenizer.json"))


@pytest.fixture(scope="module")
def builder(tmp_path_factory: pytest.TempPathFactory, tokenizer: Tokenizer) -> Builder:
    """Windows of one sentence of two seconds, again and again."""
    folder = tmp_path_factory.mktemp("shards")
    pcm = np.random.default_rng(0).integers(-9000, 9000, 2 * SAMPLE_RATE_HZ, dtype=np.int16)
    pcm.tofile(folder / "one.pcm")
    times = np.linspace(0.0, 2.0, len(TEXT) + 1).tolist()
    (folder / "one.json").write_text(json.dumps([[TEXT, len(pcm), times]]), encoding="utf-8")
    pool = Pool([folder])
    pool.refresh()
    return Builder(pool, NoiseBank(0, per_kind=1), tokenizer)


def targets(builder: Builder, content_s: float, timestamps: float) -> list[list[int]]:
    """Token ids that windows are to give, the last of which ends the text."""
    rng = random.Random(0)
    plan = Plan(content_s, 1, None, 0.0, timestamps)
    return [builder.batch(plan, 0.0, rng).labels[0].tolist() for _ in range(N_WINDOWS)]


def is_time(tokenizer: Tokenizer, token: int) -> bool:
    return re.fullmatch(r"<\|[0-9.]+\|>", tokenizer.id_to_token(token) or "") is not None


@pytest.mark.parametrize("timestamps", [0.0, 0.5, 1.0])
def test_a_text_that_stops_in_mid_sentence_ends_with_a_time(
    builder: Builder, tokenizer: Tokenizer, timestamps: float
) -> None:
    stopped = [ids for ids in targets(builder, 9.0, timestamps) if not tokenizer.decode(ids).endswith(".")]
    assert len(stopped) > 10
    assert all(is_time(tokenizer, ids[-2]) for ids in stopped)


def test_only_full_windows_leave_a_sentence_to_the_next(builder: Builder, tokenizer: Tokenizer) -> None:

    def open_ends(content_s: float) -> int:
        rows = targets(builder, content_s, 1.0)
        return sum(sum(is_time(tokenizer, token) for token in ids) % 2 for ids in rows)

    assert open_ends(9.0) == 0
    assert open_ends(WINDOW_S) > 10
