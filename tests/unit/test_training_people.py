"""People in the speech training: which windows their recordings make, and what is taken as said."""

from __future__ import annotations

import random
from pathlib import Path

import ctranslate2
import numpy as np
import pytest
import soundfile
from speech_people import LEAST_S, MOST_S, another_head, hear, read_sound, recordings, windows, write_people
from speech_voice import SAMPLE_RATE_HZ, Pool
from tokenizers import Tokenizer

from tests.conftest import Clip

SPEECH = Path(__file__).parents[2] / "models" / "embedded" / "speech"


@pytest.fixture(scope="module")
def whisper() -> ctranslate2.models.Whisper:
    return ctranslate2.models.Whisper(str(SPEECH), compute_type="int8")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(SPEECH / "tokenizer.json"))


@pytest.fixture
def tone() -> np.ndarray:
    """A second of 440 Hz at 48 kHz."""
    return 0.3 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000)


def test_short_recordings_of_a_folder_are_laid_end_to_end(tmp_path: Path, tone: np.ndarray) -> None:
    for speaker, count in (("one", 7), ("other", 1)):
        (tmp_path / speaker).mkdir()
        for index in range(count):
            soundfile.write(tmp_path / speaker / f"{index}.ogg", tone, 48_000)
    (tmp_path / "one" / "9.txt").write_text("not a recording")

    found = [len(wave) / SAMPLE_RATE_HZ for wave in windows([tmp_path], random.Random(0))]

    assert len(found) == 4
    assert all(LEAST_S <= length <= MOST_S for length in found[:2])
    assert found[-1] == pytest.approx(1.3, abs=0.3)  # the other speaker is alone


def test_of_stamps_what_is_spoken_counts_and_a_language_is_together(tmp_path: Path) -> None:
    stamps = tmp_path / "stamps"
    for name in ("animals/cat.ogg", "animals/cat_desc_ru.ogg", "animals/cat_desc_fr.ogg", "food/pie_desc_ru.ogg"):
        (stamps / name).parent.mkdir(parents=True, exist_ok=True)
        (stamps / name).touch()
    (stamps / "food" / "pie_desc_ru.txt").touch()

    found = sorted(recordings(tmp_path))

    assert [(str(who), path.name) for who, path in found] == [
        ("_fr", "cat_desc_fr.ogg"),
        ("_ru", "cat_desc_ru.ogg"),
        ("_ru", "pie_desc_ru.ogg"),
    ]


def test_silence_and_what_is_no_sound_make_no_window(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(tmp_path / "silence.flac", np.zeros(48_000), 48_000)
    (tmp_path / "broken.ogg").write_bytes(b"OggS but nothing more")

    assert list(windows([tmp_path], random.Random(0))) == []
    assert "broken.ogg" in capsys.readouterr().out


def test_a_recording_is_read_at_16_khz(tmp_path: Path, tone: np.ndarray) -> None:
    soundfile.write(tmp_path / "tone.flac", np.stack([tone, tone], 1), 48_000)

    wave = read_sound(tmp_path / "tone.flac")

    assert len(wave) == pytest.approx(SAMPLE_RATE_HZ, abs=64)
    spectrum = np.abs(np.fft.rfft(wave[:16_000], 16_000))
    assert spectrum.argmax() == 440


def test_the_text_is_what_whisper_hears(
    whisper: ctranslate2.models.Whisper, tokenizer: Tokenizer, clips: list[Clip], tmp_path: Path
) -> None:
    said = [read_sound(clip.path)[: round(MOST_S * SAMPLE_RATE_HZ)] for clip in clips[:2]]
    for index, wave in enumerate(said):
        (tmp_path / "people" / str(index)).mkdir(parents=True)
        soundfile.write(tmp_path / "people" / str(index) / "0.flac", wave, SAMPLE_RATE_HZ)

    out = write_people([tmp_path / "people"], whisper, tokenizer, tmp_path / "shards", 0)

    pool = Pool([out])
    assert pool.refresh() == 2
    rng = random.Random(0)
    drawn = {one.text for one in (pool.draw(rng) for _ in range(20))}
    assert drawn == set(hear(whisper, tokenizer, said))
    assert all(any(text[:3] in clip.text for clip in clips[:2]) for text in drawn)


def test_what_was_written_stays_as_it_is(
    whisper: ctranslate2.models.Whisper, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    (tmp_path / "shards").mkdir()

    write_people([tmp_path], whisper, tokenizer, tmp_path / "shards", 0)

    assert list((tmp_path / "shards").iterdir()) == []


def test_another_head_changes_length_and_times_alike(
    whisper: ctranslate2.models.Whisper, tokenizer: Tokenizer, clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "people").mkdir()
    soundfile.write(tmp_path / "people" / "0.flac", read_sound(clip.path)[: 4 * SAMPLE_RATE_HZ], SAMPLE_RATE_HZ)
    pool = Pool([write_people([tmp_path / "people"], whisper, tokenizer, tmp_path / "shards", 0)])
    pool.refresh()
    person = pool.draw(random.Random(0))

    lengths = [another_head(person, random.Random(seed)).duration_s / person.duration_s for seed in range(30)]

    assert 0.79 < min(lengths) < 0.9
    assert 1.1 < max(lengths) < 1.26
