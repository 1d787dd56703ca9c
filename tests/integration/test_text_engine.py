from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from maeum.engines import text as text_module
from maeum.engines.text import MAX_TOKENS, TextEngine
from maeum.errors import InvalidConfiguration
from maeum.fusion import KO_LABELS
from maeum.models import resolve
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
    in_one = good(engine.classify(sentences))
    monkeypatch.setitem(text_module._TOKENS_PER_FORWARD, "cpu", 64)
    in_many = good(engine.classify(sentences))
    assert np.array(in_many) == pytest.approx(np.array(in_one), abs=1e-5)


@given(st.lists(st.integers(1, 256), max_size=300))
def test_no_padded_batch_exceeds_the_token_budget(lengths: list[int]) -> None:
    pairs = [(index, lengths[index]) for index in sorted(range(len(lengths)), key=lengths.__getitem__)]
    batches = text_module._batches(pairs, 1024)
    assert [index for batch in batches for index in batch] == [index for index, _ in pairs]
    for batch in batches:
        assert batch
        assert len(batch) * max(lengths[index] for index in batch) <= 1024


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


def test_eight_bits_are_near_enough(engine: TextEngine, sentences: list[str]) -> None:
    exact = np.array(good(engine.classify(sentences)))
    quick = np.array(good(TextEngine(FOLDER, precision="int8").classify(sentences)))
    # CPUs without VNNI saturate in eight bits; with it the differences are smaller.
    assert np.abs(quick - exact).max(axis=1).mean() < 0.02
    assert (quick.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.95
    assert quick.sum(axis=1) == pytest.approx(1, abs=1e-9)


def test_eight_bits_of_embeddings_that_are_padded_past_the_tokenizer(sentences: list[str], tmp_path: Path) -> None:
    padded = AutoModelForSequenceClassification.from_pretrained(FOLDER)
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
        pretend.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)
        half = np.array(good(TextEngine(FOLDER, precision="bf16").classify(sentences)))
    assert half == pytest.approx(exact, abs=0.02)
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: False)
    with pytest.raises(InvalidConfiguration, match="take int8"):
        TextEngine(FOLDER, precision="bf16")


def test_eight_bits_are_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidConfiguration, match="for CPUs"):
        TextEngine(FOLDER, device="cuda", precision="int8")
