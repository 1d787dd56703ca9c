from __future__ import annotations

from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from transformers import AutoTokenizer

from maeum.engines import text as text_module
from maeum.engines.text import MAX_TOKENS, TextEngine
from maeum.engines.text_bf16 import pack
from maeum.engines.text_weights import load_classifier
from maeum.errors import InvalidConfiguration, ModelInvalid
from maeum.fusion import KO_LABELS
from maeum.models import resolve
from maeum.process.cores import has_bf16
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities
from tests.conftest import Clip
from tests.reference import Reference

FOLDER = resolve("text", Settings()).path
LONG = "오늘은 정말 길고 긴 하루였고 쓸 말이 아주 많았는데 " * 60


@pytest.fixture(scope="module")
def engine() -> TextEngine:
    return TextEngine(FOLDER)


@pytest.fixture(scope="module")
def reference() -> Reference:
    return Reference(FOLDER, FOLDER, FOLDER)


@pytest.fixture(scope="module")
def sentences(clips: list[Clip]) -> list[str]:
    """Short and long, known and unknown words, emoji, other scripts."""
    spoken = [piece.strip() for clip in clips for piece in clip.text.split(".") if piece.strip()]
    return [
        *spoken,
        "네",
        "화",
        LONG,
        "🙂🙂",
        "I was so happy today",
        "𓀀 ༀ ☃",
        "ㅋㅋㅋㅋ",
        "1,234",
        "…",
        LONG[:300],
        " ".join(spoken),
    ]


def good(results: list[Probabilities | Failure]) -> list[Probabilities]:
    rows = [result for result in results if not isinstance(result, Failure)]
    assert len(rows) == len(results)
    return rows


def test_labels_are_the_contracts_default(engine: TextEngine) -> None:
    assert engine.labels == KO_LABELS


def test_a_batch_equals_transformers_one_sentence_at_a_time(
    engine: TextEngine, reference: Reference, sentences: list[str]
) -> None:
    for sentence, row in zip(sentences, good(engine.classify(sentences)), strict=True):
        expected = reference.classify(sentence)
        assert dict(zip(engine.labels, row, strict=True)) == pytest.approx(expected, abs=1e-5)
        assert sum(row) == pytest.approx(1, abs=1e-9)


def test_a_batch_of_mixed_lengths_equals_one_by_one_in_order(engine: TextEngine, sentences: list[str]) -> None:
    together = good(engine.classify(sentences))
    alone = [good(engine.classify([sentence]))[0] for sentence in sentences]
    assert np.array(together) == pytest.approx(np.array(alone), abs=1e-5)
    backwards = good(engine.classify(sentences[::-1]))
    assert np.array(backwards[::-1]) == pytest.approx(np.array(together), abs=1e-5)


def test_the_same_sentence_gets_the_same_answer_wherever_it_stands(engine: TextEngine) -> None:
    rows = good(engine.classify(["오늘은 기뻤다", "슬펐다", "오늘은 기뻤다"]))
    assert rows[0] == pytest.approx(rows[2], abs=1e-6)


def test_nothing_is_nothing(engine: TextEngine) -> None:
    assert engine.classify([]) == []


@pytest.mark.parametrize("nothing", ["", "\u200b", "\x00"])
def test_what_holds_no_token_is_classified_too(engine: TextEngine, nothing: str) -> None:
    rows = good(engine.classify(["좋다", nothing]))
    assert rows[0] == pytest.approx(good(engine.classify(["좋다"]))[0], abs=1e-6)
    assert sum(rows[1]) == pytest.approx(1, abs=1e-9)


def test_what_lies_past_256_tokens_does_not_count(engine: TextEngine) -> None:
    first, second = good(engine.classify([LONG, LONG + " 그런데 갑자기 너무 화가 났다" * 20]))
    assert first == pytest.approx(second, abs=1e-6)
    assert len(engine._tokenizer(LONG)["input_ids"]) > MAX_TOKENS  # the test's own premise


def test_more_than_one_forward_passes_worth_equals_one_by_one(
    engine: TextEngine, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    in_few = good(engine.classify(sentences))
    monkeypatch.setattr(engine, "_tokens_per_forward", 64)
    in_many = good(engine.classify(sentences))
    assert np.array(in_many) == pytest.approx(np.array(in_few), abs=1e-5)


def cost(passes: list[slice], lengths: list[int], forward_tokens: int) -> int:
    """What some forward passes cost, in tokens."""
    return sum(forward_tokens + len(lengths[rows]) * lengths[rows][-1] for rows in passes)


@given(st.lists(st.integers(1, 256), max_size=300))
def test_every_sentence_is_in_one_pass_and_no_padded_pass_exceeds_the_token_budget(lengths: list[int]) -> None:
    lengths.sort()
    passes = text_module._split(lengths, 1024, 60)
    assert [row for rows in passes for row in range(len(lengths))[rows]] == list(range(len(lengths)))
    for rows in passes:
        assert 0 < len(lengths[rows]) * lengths[rows][-1] <= 1024


@given(st.lists(st.integers(1, 256), min_size=1, max_size=9), st.integers(0, 500))
def test_no_other_split_is_cheaper(lengths: list[int], forward_tokens: int) -> None:
    lengths.sort()
    splits = (
        [slice(begin, end) for begin, end in pairwise([0, *cuts, len(lengths)])]
        for n_cuts in range(len(lengths))
        for cuts in combinations(range(1, len(lengths)), n_cuts)
    )
    allowed = (split for split in splits if all(cost([rows], lengths, 0) <= 1024 for rows in split))
    best = min(cost(split, lengths, forward_tokens) for split in allowed)
    assert cost(text_module._split(lengths, 1024, forward_tokens), lengths, forward_tokens) == best


def test_a_sentence_over_the_budget_goes_alone() -> None:
    assert text_module._split([5, 300, 400], 256, 60) == [slice(0, 1), slice(1, 2), slice(2, 3)]


def test_a_sentence_without_finite_numbers_fails_alone() -> None:
    engine = TextEngine(FOLDER)
    poisoned = set(engine._tokenizer("고양이")["input_ids"]) - set(engine._tokenizer("오늘 기뻤다")["input_ids"])
    with torch.no_grad():
        engine._model.get_input_embeddings().weight[sorted(poisoned)] = torch.nan
    first, bad, last = engine.classify(["오늘 기뻤다", "고양이", "오늘 기뻤다"])
    assert isinstance(bad, Failure)
    assert bad.code == "text_failed"
    assert first == pytest.approx(last)
    assert sum(good([first])[0]) == pytest.approx(1, abs=1e-9)


def test_a_lone_surrogate_does_not_pass_silently(engine: TextEngine) -> None:
    with pytest.raises((TypeError, UnicodeError)):  # for run_isolated to keep apart
        engine.classify(["\ud800"])


def test_warming_up_works(engine: TextEngine) -> None:
    engine.warm_up()


def test_weights_that_are_no_numbers_end_the_start() -> None:
    engine = TextEngine(FOLDER)
    with torch.no_grad():
        engine._model.get_input_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ModelInvalid, match="the text model gives no finite numbers"):
        engine.warm_up()


def test_eight_bits_are_near_enough(engine: TextEngine, sentences: list[str]) -> None:
    exact = np.array(good(engine.classify(sentences)))
    quick = np.array(good(TextEngine(FOLDER, precision="int8").classify(sentences)))
    # CPUs without VNNI saturate in eight bits; with it the differences are smaller.
    assert np.abs(quick - exact).max(axis=1).mean() < 0.02
    assert (quick.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.95
    assert quick.sum(axis=1) == pytest.approx(1, abs=1e-9)


def test_eight_bits_of_embeddings_that_are_padded_past_the_tokenizer(sentences: list[str], tmp_path: Path) -> None:
    padded, _ = load_classifier(FOLDER)
    padded.resize_token_embeddings(padded.config.vocab_size + 56)
    padded.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(FOLDER).save_pretrained(tmp_path)
    expected = TextEngine(FOLDER, precision="int8").classify(sentences[:4])
    found = TextEngine(tmp_path, precision="int8").classify(sentences[:4])
    assert np.array(good(found)) == pytest.approx(np.array(good(expected)), abs=1e-6)


def test_bfloat16_is_almost_the_same_or_refused(
    engine: TextEngine, sentences: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = np.array(good(engine.classify(sentences)))
    with monkeypatch.context() as pretend:  # slow without the instructions, but right
        if not has_bf16():
            pretend.setattr(text_module, "has_bf16", lambda: True)
            pretend.setattr(text_module, "pack", lambda model: None)  # oneDNN does not emulate its own layout
        half = np.array(good(TextEngine(FOLDER, precision="bf16").classify(sentences)))
    assert half == pytest.approx(exact, abs=0.02)
    monkeypatch.setattr(text_module, "has_bf16", lambda: False)
    with pytest.raises(InvalidConfiguration, match="take int8"):
        TextEngine(FOLDER, precision="bf16")


@pytest.mark.skipif(not has_bf16(), reason="this CPU has no bfloat16")
def test_packed_matrices_answer_as_the_layers_they_replace() -> None:
    model = load_classifier(FOLDER)[0].to(torch.bfloat16).eval()
    tokens = torch.randint(5, 2000, (6, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        before = model(tokens).logits.float()
        pack(model)
        after = model(tokens).logits.float()
    assert not [name for name, module in model.named_modules() if ".layer." in name and isinstance(module, nn.Linear)]
    assert after == pytest.approx(before, abs=0.05)  # of logits that differ by several
    assert before.std() > 0.5


def test_eight_bits_are_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfiguration, match="for CPUs"):
        TextEngine(FOLDER, device="cuda", precision="int8")
