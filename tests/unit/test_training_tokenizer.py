"""The speech model's tokenizer: a larger one's pieces, of which some are left out."""

from __future__ import annotations

import pytest
from speech_text import MIN_COUNT, N_TIMESTAMPS, SPECIAL_TOKENS, SUPPRESSED_STRINGS, build_tokenizer
from speech_windows import pieces_of
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SENTENCES = ["오늘 아침에 산책을 했다.", "오늘은 비가 와서 슬펐다, 정말?"] * MIN_COUNT
ELSEWHERE = ["the weather is nice today", "the quick brown fox"]


@pytest.fixture(scope="module")
def larger() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    symbols = [text for text in SUPPRESSED_STRINGS for _ in range(3)]
    tokenizer.train_from_iterator([*(f" {text}" for text in SENTENCES + ELSEWHERE * 3), *symbols], trainer)
    return tokenizer


@pytest.fixture(scope="module")
def tokenizer(larger: Tokenizer) -> Tokenizer:
    return build_tokenizer(SENTENCES, larger)


def test_sentences_are_spelled_as_before(larger: Tokenizer, tokenizer: Tokenizer) -> None:
    for text in SENTENCES:
        assert tokenizer.encode(f" {text}").tokens == larger.encode(f" {text}").tokens


def test_pieces_of_other_text_are_gone_and_it_can_still_be_spelled(larger: Tokenizer, tokenizer: Tokenizer) -> None:
    assert tokenizer.get_vocab_size() - N_TIMESTAMPS - len(SPECIAL_TOKENS) < larger.get_vocab_size()
    for text in ELSEWHERE:
        pieces = tokenizer.encode(f" {text}")
        assert len(pieces.ids) > len(larger.encode(f" {text}").ids)
        assert tokenizer.decode(pieces.ids) == f" {text}"


def test_special_tokens_are_last_in_the_order_that_faster_whisper_counts_on(tokenizer: Tokenizer) -> None:
    times = [f"<|{index * 0.02:.2f}|>" for index in range(N_TIMESTAMPS)]
    first = tokenizer.token_to_id(SPECIAL_TOKENS[0])
    assert first is not None
    last = [tokenizer.id_to_token(index) for index in range(first, tokenizer.get_vocab_size())]
    assert last == [*SPECIAL_TOKENS, *times]


def test_every_piece_knows_its_letters(tokenizer: Tokenizer) -> None:
    text = " 오늘 뷁을, 했다."
    pieces = pieces_of(tokenizer, text)
    assert [index for index, _, _ in pieces] == tokenizer.encode(text).ids
    assert "".join(dict.fromkeys(text[head:tail] for _, head, tail in pieces if tail - head > 0)).replace(" ", "") == (
        text.replace(" ", "")
    )
    assert all(text[head] != " " for _, head, tail in pieces if tail - head > 1)
