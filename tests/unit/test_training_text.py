"""How the text model learns, on a network of one small layer."""

from __future__ import annotations

import numpy as np
import pytest
import text_finetune
import text_widen
import torch
from text_data import LABELS
from text_finetune import ask, classify, draw, fine_tune, mean_states
from text_lessons import Lessons
from text_vocabulary import choose_vocabulary
from text_widen import widen
from tokenizers import Tokenizer, models
from transformers import RobertaConfig, RobertaModel

COMMENTS = [f"{word} 글 {n}" for n in range(20) for word in ("좋다", "밉다")]
CLEAR = [f"{word} 말 {n}" for n in range(20) for word in ("무섭다", "슬프다")]
JOY, ANGER, FEAR, GRIEF = (LABELS.index(name) for name in ("기쁨", "분노", "불안", "슬픔"))


def lessons() -> Lessons:
    texts = [*COMMENTS, *CLEAR]
    labels = [JOY, ANGER] * 20 + [FEAR, GRIEF] * 20
    n = len(texts)
    return Lessons(
        texts=texts,
        six=np.eye(len(LABELS), dtype=np.float32)[labels],
        kote=np.zeros((n, 44), np.float32),
        goemotions=np.zeros((n, 28), np.float32),
        weights=np.tile(np.array([1, 0, 0], np.float32), (n, 1)),
        often=np.ones(n, np.float32),
    )


@pytest.fixture(scope="module")
def small() -> tuple[RobertaModel, Tokenizer]:
    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁"]
    pieces += sorted({form for text in [*COMMENTS, *CLEAR] for c in text if c != " " for form in (c, "▁" + c)})
    tokenizer, rows = choose_vocabulary(
        [*COMMENTS, *CLEAR] * 3, Tokenizer(models.Unigram([(p, -1.0) for p in pieces], 3)), pieces
    )
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=len(rows),
        hidden_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=48,
        max_position_embeddings=258,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return RobertaModel(config, add_pooling_layer=False), tokenizer


def test_a_seed_decides_everything(small: tuple[RobertaModel, Tokenizer], monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, tokenizer = small
    monkeypatch.setattr(text_finetune, "BATCH_TOKENS", 80)
    first, again, other = (
        fine_tune(encoder, lessons(), tokenizer, seed, "run", (1, 1e-3)).state_dict() for seed in (0, 0, 1)
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_an_epoch_reads_each_text_as_often_as_it_should(small: tuple[RobertaModel, Tokenizer]) -> None:
    some = lessons()
    some.often[:40], some.often[40:60], some.often[60:] = 2.0, 0.0, 0.5
    read = np.concatenate([rows for rows, _ in draw(some, small[1], np.random.default_rng(0))])
    counts = np.bincount(read, minlength=80)
    assert (counts[:40] == 2).all()
    assert (counts[40:60] == 0).all()
    assert 0 < counts[60:].sum() < 20
    assert counts[60:].max() == 1


def test_the_last_stage_learns_sentences_and_keeps_what_it_answers_to_comments(
    small: tuple[RobertaModel, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder, tokenizer = small
    monkeypatch.setattr(text_finetune, "BATCH_TOKENS", 80)
    monkeypatch.setattr(text_widen, "PACE", (30, 3e-3))
    everything = lessons()
    everything.weights[40:] = 0.0  # the first stage does not learn the clear sentences
    run = fine_tune(encoder, everything, tokenizer, 0, "run", (30, 3e-3)).classifier
    assert (classify(run, tokenizer, COMMENTS).argmax(axis=1) == [JOY, ANGER] * 20).all()
    assert not (classify(run, tokenizer, CLEAR).argmax(axis=1) == [FEAR, GRIEF] * 20).any()
    told = Lessons(
        COMMENTS + CLEAR, *(getattr(everything, name) for name in ("six", "kote", "goemotions", "weights", "often"))
    )
    told.six[:40] = 1 / len(LABELS)  # of the comments nothing is said any more but what the run answers
    model = widen(run, told, len(CLEAR), tokenizer, 0, "widen")
    assert (classify(model, tokenizer, CLEAR).argmax(axis=1) == [FEAR, GRIEF] * 20).all()
    assert (classify(model, tokenizer, COMMENTS).argmax(axis=1) == [JOY, ANGER] * 20).all()


def test_a_tutor_reads_all_of_a_text(small: tuple[RobertaModel, Tokenizer]) -> None:
    encoder, tokenizer = small
    tutor = fine_tune(encoder, lessons(), tokenizer, 0, "tutor", (30, 3e-3), read=mean_states)
    answers = ask(tutor, tokenizer, [*COMMENTS, *CLEAR])
    assert answers.shape == (80, len(LABELS))
    assert answers.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (answers.argmax(axis=1) == lessons().six.argmax(axis=1)).mean() > 0.9
