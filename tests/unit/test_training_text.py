"""How the text model and its teacher learn; the networks are of one small layer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import text_finetune
import text_kernel
import torch
from text_data import LABELS
from text_finetune import classify, draw, fine_tune, leave_out
from text_kernel import Described, describe, sharpened, teach
from text_lessons import Lessons, States, mix
from text_vocabulary import choose_vocabulary
from tokenizers import Tokenizer, models
from transformers import RobertaConfig, RobertaModel

from maeum.engines.text_packed import is_packed, rounded

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
        states=np.zeros((n, 5), np.float16),
        weights=np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1)),
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
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=258,
        type_vocab_size=1,
        bos_token_id=0,
        pad_token_id=1,
        eos_token_id=2,
    )
    return RobertaModel(config, add_pooling_layer=False), tokenizer


def test_a_seed_decides_everything(
    small: tuple[RobertaModel, Tokenizer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder, tokenizer = small
    monkeypatch.setattr(text_finetune, "BATCH_TOKENS", 80)
    first, again, other = (
        fine_tune(encoder, lessons(), tokenizer, seed, tmp_path / f"{run}.pt", (2, 1e-3)).state_dict()
        for run, seed in enumerate((0, 0, 1))
    )
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)


def test_training_goes_on_where_it_was_interrupted(
    small: tuple[RobertaModel, Tokenizer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder, tokenizer = small
    monkeypatch.setattr(text_finetune, "BATCH_TOKENS", 80)
    whole = fine_tune(encoder, lessons(), tokenizer, 0, tmp_path / "whole.pt", (3, 1e-3)).state_dict()
    drawn = 0

    def interrupted(*arguments: object) -> object:
        nonlocal drawn
        drawn += 1
        if drawn == 3:
            raise KeyboardInterrupt
        return draw(*arguments)  # type: ignore[arg-type]

    with monkeypatch.context() as once:
        once.setattr(text_finetune, "draw", interrupted)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(encoder, lessons(), tokenizer, 0, tmp_path / "parts.pt", (3, 1e-3))
    resumed = fine_tune(encoder, lessons(), tokenizer, 0, tmp_path / "parts.pt", (3, 1e-3)).state_dict()
    assert all(torch.equal(whole[key], resumed[key]) for key in whole)


def test_an_epoch_reads_each_text_as_often_as_it_should(small: tuple[RobertaModel, Tokenizer]) -> None:
    some = lessons()
    some.often[:40], some.often[40:60], some.often[60:] = 2.0, 0.0, 0.5
    read = np.concatenate([rows for rows, _ in draw(some, small[1], np.random.default_rng(0))])
    counts = np.bincount(read, minlength=80)
    assert (counts[:40] == 2).all()
    assert (counts[40:60] == 0).all()
    assert 0 < counts[60:].sum() < 20
    assert counts[60:].max() == 1


def test_a_student_learns_and_keeps_what_it_learned_when_it_is_rounded(
    small: tuple[RobertaModel, Tokenizer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    encoder, tokenizer = small
    monkeypatch.setattr(text_finetune, "BATCH_TOKENS", 150)
    model = fine_tune(encoder, lessons(), tokenizer, 0, tmp_path / "run.pt", (20, 3e-3)).classifier
    state = model.state_dict()
    model.load_state_dict({name: rounded(value) if is_packed(name, value) else value for name, value in state.items()})
    logits = classify(model, tokenizer, [*COMMENTS, *CLEAR])
    assert logits.shape == (80, len(LABELS))
    assert (logits.argmax(axis=1) == lessons().six.argmax(axis=1)).mean() > 0.9


def test_a_text_keeps_its_ends_and_never_loses_all() -> None:
    rng = np.random.default_rng(0)
    ids = [0, *range(10, 1_010), 2]
    some = leave_out(ids, 0.15, rng)
    assert (some[0], some[-1]) == (0, 2)
    assert len(some) == pytest.approx(852, abs=40)
    assert some == [*sorted(some[:-1]), 2]
    assert leave_out(ids, 0.0, rng) == ids
    assert leave_out([0, 7, 2], 1.0, rng) == [0, 7, 2]


def test_states_are_scaled_together() -> None:
    rng = np.random.default_rng(0)
    parts = States(*(rng.normal(place, 2.0, size=(50, 2, 3)).astype(np.float32) for place in range(4))).scaled()
    everything = np.concatenate(parts)
    assert everything.shape == (200, 6)
    assert everything.mean(axis=0) == pytest.approx(0.0, abs=1e-4)
    assert everything.std(axis=0) == pytest.approx(1.0, abs=1e-4)
    assert parts.kote.mean() < parts.comments.mean() < parts.translated.mean() < parts.written.mean()


def described(texts: list[str], others: list[str]) -> tuple[Described, Described]:
    states = np.random.default_rng(0).normal(size=(len(texts) + len(others), 2, 8)).astype(np.float32)
    return describe(texts, others, (states[: len(texts)], states[len(texts) :]))


def test_the_kernel_teacher_answers_about_a_text_as_if_it_had_not_read_it() -> None:
    everything = lessons()
    known, unknown = described([*COMMENTS, *CLEAR], ["좋다 글 99", "무섭다 말 99"])
    noise = np.repeat(np.array([0.5, 2.0], np.float32), 40)
    mean = everything.six.mean(axis=0)
    own, other = teach(known, everything.six, noise, mean, unknown)
    assert other.argmax(axis=1).tolist() == [JOY, FEAR]
    for row in (0, 41, 79):
        rest = np.delete(np.arange(80), row)
        _, again = teach(known.take(rest), everything.six[rest], noise[rest], mean, known.take(np.array([row])))
        assert own[row] == pytest.approx(again[0], abs=2e-3)


def test_likeness_is_that_of_all_texts_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    known, _ = described([*COMMENTS, *CLEAR], COMMENTS)
    whole = known.likeness(known)
    assert whole == pytest.approx(whole.T, abs=1e-5)
    monkeypatch.setattr(text_kernel, "ROWS_AT_ONCE", 7)
    assert known.likeness(known) == pytest.approx(whole, abs=1e-5)


def test_a_teacher_that_is_too_careful_is_sharpened() -> None:
    labels = np.arange(60) % len(LABELS)
    careful = np.full((60, len(LABELS)), 0.1, np.float32)
    careful[np.arange(60), labels] = 0.5
    careful[:6] = np.roll(careful[:6], 1, axis=1)  # one in ten is wrong
    own, other = sharpened((careful, careful[:3]), np.arange(60), labels)
    assert own.sum(axis=1) == pytest.approx(1.0, abs=1e-5)
    assert own[np.arange(60), labels][6:].mean() == pytest.approx(0.9, abs=0.02)
    assert other == pytest.approx(own[:3])


def test_a_label_counts_less_than_what_readers_see_in_a_text() -> None:
    six = np.zeros((2, len(LABELS)), np.float32)
    six[0, JOY] = 1.0
    read, taught = np.zeros_like(six), np.zeros_like(six)
    read[:, ANGER], taught[:, GRIEF] = 1.0, 1.0
    mixed = mix(six, read, taught)
    assert mixed[0, [JOY, ANGER, GRIEF]] == pytest.approx([0.15, 0.35, 0.5])
    assert mixed[1, [JOY, ANGER, GRIEF]] == pytest.approx([0.0, 0.4, 0.6])
