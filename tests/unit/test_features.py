from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from maeum.audio.decoding import Waveform
from maeum.audio.features import Baseline, Baselines, Gender, VoicePooling, voice_deltas, windows_with_speech
from maeum.errors import InvalidField, ModelInvalid, ModelMissing
from tests.unit.test_mfcc import expected_mfcc, noise

BASELINE = Baseline(np.linspace(-200, 20, 13, dtype=np.float32), np.linspace(90, 8, 13, dtype=np.float32))


# voice_deltas


def voice_delta(waveform: Waveform, baseline: Baseline) -> NDArray[np.float32]:
    deltas = voice_deltas(waveform, baseline, VoicePooling.FIRST)
    assert deltas.shape == (1, 100, 13)
    return deltas.reshape(100, 13)


@pytest.mark.parametrize("n_samples", [2_048, 51_199, 51_200, 160_000])
def test_delta_is_the_reference_formula(n_samples: int) -> None:
    expected = np.zeros((100, 13))
    frames = expected_mfcc(noise(n_samples))[:100]
    expected[: len(frames)] = frames
    expected = (expected - BASELINE.mean.astype(np.float64)) / (BASELINE.std.astype(np.float64) + 1e-8)
    delta = voice_delta(Waveform(noise(n_samples)), BASELINE)
    assert delta.dtype == np.float32
    assert delta.shape == (100, 13)
    assert delta == pytest.approx(expected, abs=1e-4)


def test_padding_is_silence_relative_to_the_baseline() -> None:
    delta = voice_delta(Waveform(noise(16_000)), BASELINE)
    assert delta[32:] == pytest.approx(np.tile(-BASELINE.mean / BASELINE.std, (68, 1)), rel=1e-5)


def test_what_comes_after_the_window_is_cut() -> None:
    steady = noise(160_000)
    same_start = steady.copy()
    same_start[60_000:] *= 0.5
    assert voice_delta(Waveform(same_start), BASELINE) == pytest.approx(voice_delta(Waveform(steady), BASELINE))


@given(st.integers(2_048, 60_000), st.floats(0, 1e6))
@settings(max_examples=25, deadline=None)
def test_delta_is_always_finite(n_samples: int, amplitude: float) -> None:
    delta = voice_delta(Waveform(noise(n_samples) * np.float32(amplitude)), BASELINE)
    assert delta.shape == (100, 13)
    assert np.isfinite(delta).all()


def test_a_deviation_of_zero_divides_by_the_guard() -> None:
    flat = Baseline(BASELINE.mean, np.zeros(13, np.float32))
    assert np.isfinite(voice_delta(Waveform(noise(16_000)), flat)).all()


@pytest.mark.parametrize(("n_samples", "n"), [(2_048, 1), (51_200, 1), (76_287, 1), (76_288, 2), (160_000, 3)])
def test_all_windows_follow_each_other(n_samples: int, n: int) -> None:
    deltas = voice_deltas(Waveform(noise(n_samples)), BASELINE, VoicePooling.WINDOWS)
    assert deltas.shape == (n, 100, 13)
    frames = expected_mfcc(noise(n_samples))[: 100 * n]
    expected = (frames - BASELINE.mean) / BASELINE.std
    assert deltas.reshape(-1, 13)[: len(frames)] == pytest.approx(expected, abs=1e-3)
    assert deltas[0] == pytest.approx(voice_delta(Waveform(noise(n_samples)), BASELINE), abs=1e-4)


@pytest.mark.parametrize(
    ("n", "spans", "held"),
    [
        (1, [], [0]),
        (1, [(0, 1)], [0]),
        (3, [(0, 9.6)], [0, 1, 2]),
        (3, [(3.2, 4.9)], [1]),
        (3, [(3.2, 4.7), (4.8, 4.9), (8.1, 9.6)], [1]),
        (3, [(0, 0.4), (6.5, 7.5)], [2]),
        (3, [], [0]),
        (2, [(1.5, 4.9)], [0, 1]),
    ],
)
def test_windows_are_kept_for_the_speech_in_them(n: int, spans: list[tuple[float, float]], held: list[int]) -> None:
    assert windows_with_speech(n, spans) == held


@pytest.mark.parametrize("text", ["first", " FIRST", "First\n"])
def test_voice_pooling_is_read_in_any_case(text: str) -> None:
    assert VoicePooling.parse(text) is VoicePooling.FIRST


@pytest.mark.parametrize("text", ["", "all", "window", "0"])
def test_another_voice_pooling_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="first or windows") as caught:
        VoicePooling.parse(text)
    assert caught.value.code == "invalid_voice_pooling"


# a speaker's own baseline


def test_a_baseline_is_the_mean_and_deviation_of_the_clips_means() -> None:
    clips = [noise(32_000, seed) * np.float32(level) for seed, level in enumerate((0.3, 0.5, 1.0, 2.0))]
    means = np.stack([expected_mfcc(clip).mean(axis=0) for clip in clips])
    usual = Baseline(np.zeros(13, np.float32), np.linspace(0, 12, 13, dtype=np.float32))
    baseline = Baseline.of_clips([Waveform(clip) for clip in clips], usual)
    assert baseline.mean == pytest.approx(means.mean(axis=0), abs=1e-3)
    assert baseline.std == pytest.approx(np.maximum(means.std(axis=0), usual.std), abs=1e-3)
    assert baseline.std[0] > usual.std[0]
    assert baseline.std[12] == usual.std[12]


@pytest.mark.parametrize("n", [0, 1])
def test_a_baseline_takes_two_clips(n: int) -> None:
    with pytest.raises(ValueError, match="at least two"):
        Baseline.of_clips([Waveform(noise(16_000))] * n, Baseline(np.zeros(13, np.float32), np.ones(13, np.float32)))


thirteen = st.lists(st.floats(-10_000, 10_000, width=32), min_size=13, max_size=13)


@given(thirteen, st.lists(st.floats(0.0625, 10_000, width=32), min_size=13, max_size=13))
def test_a_baseline_survives_its_json(mean: list[float], std: list[float]) -> None:
    baseline = Baseline(np.array(mean, np.float32), np.array(std, np.float32))
    again = Baseline.parse(baseline.to_json())
    assert again.mean == pytest.approx(baseline.mean, abs=1e-3)
    assert again.std == pytest.approx(baseline.std, abs=1e-3)


GOOD = {"mean": [0.0] * 13, "std": [1.0] * 13}


def test_a_byte_order_mark_is_no_part_of_a_baseline() -> None:
    assert Baseline.parse(f"\ufeff{json.dumps(GOOD)}\n").std.tolist() == GOOD["std"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "empty",
        "[]",
        "13",
        "{}",
        "{" * 10_000,
        '{"mean":' * 10_000,
        json.dumps(GOOD | {"mean": [0.0] * 12}),
        json.dumps(GOOD | {"mean": [[0.0]] * 13}),
        json.dumps(GOOD | {"mean": ["0"] * 13}),
        json.dumps(GOOD | {"mean": [True] * 13}),
        json.dumps(GOOD | {"mean": [float("nan")] * 13}),
        json.dumps(GOOD | {"std": [float("inf")] * 13}),
        json.dumps(GOOD | {"std": [1e300] * 13}),
        json.dumps(GOOD | {"mean": [10**400] * 13}),
        json.dumps(GOOD | {"std": [0.0] * 13}),
        json.dumps(GOOD | {"std": [-1.0] * 13}),
        json.dumps(GOOD | {"std": None}),
    ],
)
def test_what_is_no_baseline_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match=r"^baseline ") as caught:
        Baseline.parse(text)
    assert (caught.value.code, caught.value.status) == ("invalid_baseline", 422)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=14)))
def test_any_json_is_a_baseline_or_refused(value: object) -> None:
    with suppress(InvalidField):
        Baseline.parse(json.dumps(GOOD | {"mean": value}))


# gender


@pytest.mark.parametrize("text", ["MALE", "male", " Male ", "mAlE\n"])
def test_gender_is_read_in_any_case(text: str) -> None:
    assert Gender.parse(text) is Gender.MALE


@pytest.mark.parametrize("text", ["", "M", "MÄLE", "남성", "MALE FEMALE", "other", "None", "\x00"])
def test_another_gender_is_refused(text: str) -> None:
    with pytest.raises(InvalidField, match="MALE or FEMALE") as caught:
        Gender.parse(text)
    assert (caught.value.code, caught.value.status) == ("invalid_gender", 422)


@given(st.text())
def test_any_text_is_a_gender_or_refused(text: str) -> None:
    with suppress(InvalidField):
        assert Gender.parse(text).value == text.strip().upper()


# baselines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, name in enumerate(("mean_male", "mean_female", "std_male", "std_female")):
        np.save(tmp_path / f"baseline_{name}.npy", np.arange(13, dtype=np.float32) + 100 * number)
    return tmp_path


def test_each_gender_gets_its_own_baseline(folder: Path) -> None:
    baselines = Baselines.load(folder)
    male, female = baselines.of(Gender.MALE), baselines.of(Gender.FEMALE)
    assert [int(values[0]) for values in (male.mean, female.mean, male.std, female.std)] == [0, 100, 200, 300]


@pytest.mark.parametrize("shape", [(13,), (1, 13), (13, 1), (1, 13, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_any_shape_that_flattens_to_13_is_read(folder: Path, shape: tuple[int, ...], dtype: type) -> None:
    np.save(folder / "baseline_mean_male.npy", np.arange(13, dtype=dtype).reshape(shape))
    mean = Baselines.load(folder).male.mean
    assert mean.dtype == np.float32
    assert mean.tolist() == list(range(13))


@pytest.mark.parametrize("name", ["mean_male", "mean_female", "std_male", "std_female"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / f"baseline_{name}.npy").unlink()
    with pytest.raises(ModelMissing, match=f"baseline_{name}"):
        Baselines.load(folder)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "values",
    [
        np.zeros(12),
        np.zeros((2, 13)),
        np.zeros(0),
        np.full(13, np.nan),
        np.full(13, np.inf),
        np.full(13, 1e300),  # infinite as float32
        np.array(["a"] * 13),
        np.zeros(13, complex),
        np.zeros(13, "datetime64[s]"),
    ],
)
def test_an_array_that_is_no_baseline_is_refused(folder: Path, values: NDArray[np.float64]) -> None:
    np.save(folder / "baseline_std_female.npy", values)
    with pytest.raises(ModelInvalid, match=r"baseline_std_female\.npy"):
        Baselines.load(folder)


def test_a_negative_deviation_is_refused_but_a_negative_mean_is_not(folder: Path) -> None:
    np.save(folder / "baseline_mean_male.npy", np.full(13, -1.0))
    Baselines.load(folder)
    np.save(folder / "baseline_std_male.npy", np.full(13, -1.0))
    with pytest.raises(ModelInvalid, match="negative"):
        Baselines.load(folder)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", b"PK\x03\x04" + bytes(50), bytes(200)])
def test_a_file_that_is_no_array_is_refused(folder: Path, content: bytes) -> None:
    (folder / "baseline_mean_male.npy").write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"baseline_mean_male\.npy"):
        Baselines.load(folder)


def test_a_truncated_file_is_refused(folder: Path) -> None:
    path = folder / "baseline_mean_male.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(ModelInvalid, match=r"baseline_mean_male\.npy"):
        Baselines.load(folder)


def test_several_arrays_in_one_file_are_refused(folder: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "two.npz", a=np.zeros(13), b=np.zeros(13))
    shutil.move(tmp_path / "two.npz", folder / "baseline_mean_male.npy")
    with pytest.raises(ModelInvalid, match=r"baseline_mean_male\.npy"):
        Baselines.load(folder)


def test_a_pickle_is_not_executed(folder: Path) -> None:
    np.save(folder / "baseline_mean_male.npy", np.array([object()] * 13), allow_pickle=True)
    with pytest.raises(ModelInvalid, match=r"baseline_mean_male\.npy"):
        Baselines.load(folder)
