"""Training on a GPU, its parts on the CPU: windows of people joined, and texts that Whisper makes up."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
import torch
from speech_cuda import MAX_TOKENS, Teacher
from speech_makers import LONGEST_S, join
from speech_network import PADDING_STRIDE, Shape, Whisper
from speech_text import token_of
from speech_voice import SAMPLE_RATE_HZ, Pool, Utterance, write_shard
from tokenizers import Tokenizer
from torch import Tensor

ROOT = Path(__file__).parents[2]
LENGTH_S = 2.0


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "models" / "embedded" / "speech" / "tokenizer.json"))


class Scripted(torch.nn.Module):
    """A network whose decoder says the same syllables to everybody, then ends, or never does."""

    def __init__(self, tokens: list[int], n_tokens: int) -> None:
        super().__init__()
        self._script, self._n_tokens = tokens, n_tokens

    def decoder(self, tokens: Tensor, audio: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
        logits = torch.zeros(*tokens.shape, self._n_tokens)
        for place in range(tokens.shape[1]):
            logits[:, place, self._script[min(max(place - 1, 0), len(self._script) - 1)]] = 100.0
        return logits, audio


def made_up(tokenizer: Tokenizer, script: list[int], n: int = 12) -> tuple[Tensor, Tensor]:
    network = Scripted(script, tokenizer.get_vocab_size())
    teacher = Teacher(network, tokenizer, torch.Generator().manual_seed(0))  # type: ignore[arg-type]
    return teacher.make_up(torch.zeros(n, 5, 8), None, torch.full((n,), LENGTH_S), 0.8)


def test_a_text_that_is_made_up_ends_as_in_training_with_or_without_its_times(tokenizer: Tokenizer) -> None:
    begin, no_times, end = (
        token_of(tokenizer, f"<|{name}|>") for name in ("startoftranscript", "notimestamps", "endoftext")
    )
    said = tokenizer.encode(" 안녕").ids

    tokens, known = made_up(tokenizer, [*said, end])

    closing = no_times + 1 + round(LENGTH_S / 0.02)
    forms = {tuple(row[1 : 1 + int(mask.sum())].tolist()) for row, mask in zip(tokens, known, strict=True)}
    assert forms == {(no_times, *said, end), (no_times + 1, *said, closing, end)}
    assert (tokens[:, 0] == begin).all()


def test_a_text_without_an_end_is_not_learned(tokenizer: Tokenizer) -> None:
    tokens, known = made_up(tokenizer, tokenizer.encode(" 아").ids)

    assert tokens.shape[1] >= MAX_TOKENS
    assert not known.any()


def test_a_network_of_its_own_is_asked_in_half_precision(tokenizer: Tokenizer) -> None:
    torch.manual_seed(0)
    shape = Shape(tokenizer.get_vocab_size(), width=192, encoder_inner=(16,), decoder_inner=(16, 16, 16, 16))
    whole = Whisper(shape).requires_grad_(False).bfloat16()
    teacher = Teacher(whole, tokenizer, torch.Generator().manual_seed(0))

    audio, bias = teacher.hear(torch.randn(2, 80, 204, generator=torch.Generator().manual_seed(1)))
    tokens, _ = teacher.make_up(audio, bias, torch.tensor([1.0, 2.0]), 0.0)
    following = teacher.probabilities(tokens, audio, bias)

    assert audio.dtype == torch.bfloat16
    assert audio.shape[1] == 100 + len(range(100 + PADDING_STRIDE, 1500, 2 * PADDING_STRIDE))
    assert following.shape == (2, tokens.shape[1] - 1, shape.vocabulary)
    assert torch.allclose(following.exp().sum(-1), torch.ones(()), atol=1e-3)


def test_people_are_joined_in_windows_that_are_not_too_long(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    spoken = [
        Utterance(name, draw.integers(-9000, 9000, 8 * SAMPLE_RATE_HZ, dtype=np.int16), [0.0] * (len(name) + 1))
        for name in ("하나", "둘", "셋")
    ]
    write_shard(tmp_path / "00000", spoken)
    pool = Pool([tmp_path])
    pool.refresh()

    left_out = pool.take_out(1)
    waves = [join(pool, random.Random(seed)) for seed in range(40)]

    assert [one.text for one in left_out] == ["셋"]
    assert {pool.draw(random.Random(seed)).text for seed in range(40)} == {"하나", "둘"}
    lengths = [len(wave) / SAMPLE_RATE_HZ for wave in waves]
    assert max(lengths) <= LONGEST_S
    assert min(lengths) < 6.0, "parts of two are shorter than either"
    assert all(wave.dtype == np.float32 and np.abs(wave).max() <= 1.0 for wave in waves)
