"""Making Whisper smaller: what is kept, and that the smaller one follows the larger one."""

from __future__ import annotations

import copy
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_cut import DECODER_LAYERS, cut_down
from speech_distil import Lesson, Sound
from speech_network import Shape, Whisper
from speech_noise import NoiseBank
from speech_voice import SAMPLE_RATE_HZ, Pool, Utterance, write_shard
from tokenizers import Tokenizer

ROOT = Path(__file__).parents[2]
TEXT = "오늘은 비가 왔다."


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "models" / "embedded" / "speech" / "tokenizer.json"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A sentence and a person, both the same noise."""
    folder = tmp_path_factory.mktemp("sound")
    draw = np.random.default_rng(0)
    pcm = draw.integers(-9000, 9000, SAMPLE_RATE_HZ, dtype=np.int16)
    write_shard(folder / "00000", [Utterance(TEXT, pcm, np.linspace(0.0, 1.0, len(TEXT) + 1).tolist())])
    pool, bank = Pool([folder]), NoiseBank(0, per_kind=1)
    pool.refresh()
    return Sound(pool, pool, bank)


@pytest.fixture(scope="module")
def whole(tokenizer: Tokenizer) -> Whisper:
    torch.manual_seed(0)
    shape = Shape(tokenizer.get_vocab_size(), width=192, encoder_inner=(24, 24), decoder_inner=(24, 24, 24, 24))
    return Whisper(shape).requires_grad_(False)


def test_where_no_unit_is_left_out_every_kept_layer_is_as_it_was(
    whole: Whisper, tokenizer: Tokenizer, sound: Sound
) -> None:
    smaller = Whisper(replace(whole.shape, decoder_inner=(24, 24, 24)))

    cut_down(smaller, whole, tokenizer, sound.pool, sound.people)

    for index, source in enumerate(DECODER_LAYERS):
        kept, before = smaller.decoder.get_submodule(f"layer_{index}"), whole.decoder.get_submodule(f"layer_{source}")
        for name, value in kept.state_dict().items():
            if "ffn.linear_1" not in name:
                assert torch.equal(value, before.state_dict()[name]), name
    mel = torch.randn(1, 80, 404, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.allclose(smaller.encoder(mel, 8)[0], whole.encoder(mel, 8)[0], atol=0.05)


def test_a_student_comes_closer_to_its_teacher(whole: Whisper, tokenizer: Tokenizer, sound: Sound) -> None:
    torch.manual_seed(1)
    student = copy.deepcopy(whole)
    for parameter in student.parameters():
        parameter.data += 0.02 * torch.randn_like(parameter)
    student.requires_grad_(True)
    student.encoder.position_encodings.requires_grad_(False)
    lesson = Lesson(tokenizer, sound, random.Random(0), 3)

    def away() -> list[float]:
        checks = Lesson(tokenizer, sound, random.Random(5), 3)
        with torch.no_grad():
            return [float(loss) for loss in checks.losses(student, whole, listens=True)]

    before = away()
    lesson.learn(student, whole, 20, 1e-3)
    after = away()

    assert after[0] < 0.8 * before[0]
    assert after[1] < before[1]


def test_an_encoder_that_does_not_learn_stays_as_it_was(whole: Whisper, tokenizer: Tokenizer, sound: Sound) -> None:
    student = copy.deepcopy(whole)
    student.decoder.requires_grad_(True)

    Lesson(tokenizer, sound, random.Random(0), 3).learn(student, whole, 2, 1e-3)

    assert all(map(torch.equal, student.encoder.parameters(), whole.encoder.parameters()))
    assert not all(map(torch.equal, student.decoder.parameters(), whole.decoder.parameters()))
