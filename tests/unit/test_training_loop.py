"""The speech training loop: what a step leaves behind, and what a checkpoint keeps."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_distil import Lesson, Sound
from speech_network import WHISPER_INNER, Shape, Whisper
from speech_noise import NoiseBank
from speech_train import Recipe, Trainer
from speech_voice import SAMPLE_RATE_HZ, Pool, Utterance, write_shard
from speech_windows import Builder, Plan
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
TEXT = "오늘은 비가 왔다."


@pytest.fixture
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "models" / "embedded" / "speech" / "tokenizer.json"))


@pytest.fixture
def shape(tokenizer: Tokenizer) -> Shape:
    return Shape(tokenizer.get_vocab_size(), width=192, encoder_inner=(16, 16), decoder_inner=(16, 16, 16))


@pytest.fixture
def start(shape: Shape, tmp_path: Path) -> Path:
    """What training begins with."""
    torch.manual_seed(0)
    whole = Whisper(replace(shape, encoder_inner=WHISPER_INNER, decoder_inner=WHISPER_INNER))
    torch.save({"model": Whisper(shape).state_dict(), "whole": whole.state_dict()}, tmp_path / "start.pt")
    return tmp_path / "start.pt"


@pytest.fixture
def alone(tmp_path: Path) -> Iterator[None]:
    """One process that exchanges gradients with itself."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'meet'}", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("alone")
def test_a_checkpoint_keeps_the_weights_and_exports_their_average(
    shape: Shape, start: Path, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    pcm = np.random.default_rng(0).integers(-9000, 9000, SAMPLE_RATE_HZ, dtype=np.int16)
    write_shard(tmp_path / "00000", [Utterance(TEXT, pcm, np.linspace(0.0, 1.0, len(TEXT) + 1).tolist())])
    pool, bank, rng = Pool([tmp_path]), NoiseBank(0, per_kind=1), random.Random(0)
    pool.refresh()
    trainer = Trainer(shape, Recipe(1.0, 0, 3e-3), start)
    batch = Builder(pool, bank, tokenizer).batch(Plan(3.0, 1, 8, 0.3, 1.0), 0.0, rng)
    lesson = Lesson(tokenizer, Sound(pool, pool, bank), rng, 1)

    weights = []
    for _ in range(3):
        losses = trainer.update(batch, lesson)
        weights.append(trainer.model.decoder.embeddings.weight.detach().clone())
    trainer.save(tmp_path / "checkpoint.pt")
    resumed = Trainer(shape, Recipe(1.0, 0), start)
    resumed.load(tmp_path / "checkpoint.pt")

    assert set(losses) == {"ce", "guide", "said", "heard"}
    assert all(np.isfinite(value) for value in losses.values())
    exported = torch.load(tmp_path / "checkpoint.pt", weights_only=True)["model"]
    assert torch.allclose(exported["decoder.embeddings.weight"], torch.stack(weights).mean(0), atol=1e-6)
    assert torch.equal(resumed.model.decoder.embeddings.weight, weights[-1])
    assert torch.equal(resumed.average.decoder.embeddings.weight, exported["decoder.embeddings.weight"])
    assert resumed.step == 3
