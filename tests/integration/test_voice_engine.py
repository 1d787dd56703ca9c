from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from maeum.engines.voice import VoiceEngine
from maeum.engines.voice_network import VoiceNetwork
from maeum.errors import ModelInvalid
from maeum.models import resolve
from maeum.settings import Settings
from maeum.stages import Failure, Probabilities
from tests.conftest import Clip
from tests.reference import Network, Reference, load_audio

FOLDER = resolve("voice", Settings()).path


@pytest.fixture(scope="module")
def engine() -> VoiceEngine:
    return VoiceEngine(FOLDER)


def windows(n: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).standard_normal((n, 100, 13)).astype(np.float32)


def rows_of(results: list[Probabilities | Failure]) -> NDArray[np.float64]:
    rows = [result for result in results if not isinstance(result, Failure)]
    assert len(rows) == len(results)
    return np.array(rows)


def directly(network: torch.nn.Module, deltas: NDArray[np.float32]) -> NDArray[np.float64]:
    network.load_state_dict(torch.load(FOLDER / "pytorch_model.pth", weights_only=True))
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(deltas.transpose(0, 2, 1).copy()))
    return np.asarray(torch.softmax(logits.double(), 1).numpy())


def test_a_batch_equals_the_network_called_directly(engine: VoiceEngine) -> None:
    deltas = windows(9)
    rows = rows_of(engine.classify(deltas))
    assert rows == pytest.approx(directly(VoiceNetwork(len(engine.labels)), deltas), abs=1e-6)
    assert rows.sum(axis=1) == pytest.approx(1, abs=1e-12)


def test_the_network_is_the_one_that_the_reference_describes(engine: VoiceEngine) -> None:
    deltas = 3 * windows(9, seed=1)
    expected = directly(Network(len(engine.labels)), deltas)
    assert rows_of(engine.classify(deltas)) == pytest.approx(expected, abs=1e-6)


def test_a_batch_equals_one_by_one_in_order(engine: VoiceEngine) -> None:
    deltas = windows(64)
    alone = np.concatenate([rows_of(engine.classify(delta[None])) for delta in deltas])
    assert rows_of(engine.classify(deltas)) == pytest.approx(alone, abs=1e-6)
    assert rows_of(engine.classify(deltas[::-1]))[::-1] == pytest.approx(alone, abs=1e-6)


def test_spoken_clips_differ(engine: VoiceEngine, clips: list[Clip]) -> None:
    reference = Reference(FOLDER, FOLDER, FOLDER)
    heard = [reference.hear(load_audio(clip.data), clip.gender) for clip in clips[:3]]
    assert heard[0] != pytest.approx(heard[1], abs=1e-3) or heard[1] != pytest.approx(heard[2], abs=1e-3)
    assert [*heard[0]] == list(engine.labels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("bad", [0, 2, 4])
def test_a_window_that_is_not_finite_fails_alone(engine: VoiceEngine, value: float, bad: int) -> None:
    deltas = windows(5)
    expected = rows_of(engine.classify(deltas))
    deltas[bad, 99, 12] = value
    results = engine.classify(deltas)
    assert [isinstance(result, Failure) for result in results] == [index == bad for index in range(5)]
    failure = results.pop(bad)
    assert isinstance(failure, Failure)
    assert failure.code == "voice_failed"
    assert rows_of(results) == pytest.approx(np.delete(expected, bad, axis=0), abs=1e-6)


def test_huge_but_finite_numbers_give_probabilities_or_a_failure(engine: VoiceEngine) -> None:
    deltas = windows(3)
    deltas[1] *= 1e30
    first, huge, last = engine.classify(deltas)
    assert isinstance(huge, Failure) or (np.isfinite(huge).all() and sum(huge) == pytest.approx(1))
    assert rows_of([first, last]) == pytest.approx(rows_of(engine.classify(windows(3)[[0, 2]])), abs=1e-6)


def test_the_input_is_left_as_it_was(engine: VoiceEngine) -> None:
    deltas = windows(2)
    deltas[0, 0, 0] = np.nan
    before = deltas.copy()
    engine.classify(deltas)
    assert np.array_equal(deltas, before, equal_nan=True)


def test_a_read_only_or_strided_batch_is_fine(engine: VoiceEngine) -> None:
    deltas = windows(6)
    deltas.flags.writeable = False
    assert rows_of(engine.classify(deltas[::2])) == pytest.approx(rows_of(engine.classify(deltas))[::2], abs=1e-6)


def test_nothing_is_nothing(engine: VoiceEngine) -> None:
    assert engine.classify(np.zeros((0, 100, 13), np.float32)) == []


@pytest.mark.parametrize("shape", [(100, 13), (1, 13, 100), (1, 100, 12), (1, 99, 13), (0,)])
def test_another_shape_is_refused(engine: VoiceEngine, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(n, 100, 13\)"):
        engine.classify(np.zeros(shape, np.float32))


def test_warming_up_works(engine: VoiceEngine) -> None:
    engine.warm_up()


def test_weights_that_are_no_numbers_are_no_success() -> None:
    engine = VoiceEngine(FOLDER)
    with torch.no_grad():
        next(engine._network.parameters()).fill_(torch.nan)
    (failure,) = engine.classify(windows(1))
    assert isinstance(failure, Failure)
    assert failure.code == "voice_failed"
    with pytest.raises(ModelInvalid, match="the voice model gives no finite numbers"):
        engine.warm_up()
