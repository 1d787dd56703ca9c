"""Make the test sets of the model cards as manifests for `maeum evaluate`.

    python scripts/train/sets.py --data DIR [--out build/sets] [--sentences N] [--seed N]

Sentences are those that the speech training leaves out, spoken by espeak-ng. Each set is a folder of clips with a
`clips.csv`; comments are rows without a clip.
"""

import argparse
import csv
import io
import random
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import soxr
from speech_diary import DIARY_TEST
from speech_evaluate import HUMAN_CLIP, HUMAN_TEXT, Speaker, Wave, with_noise
from speech_noise import KINDS, sound
from speech_text import prepare_text
from speech_voice import LEFT_OUT_VARIANTS, SAMPLE_RATE_HZ
from text_data import LABELS, read_kote
from text_written import written_sentences
from tqdm import tqdm
from voice_data import LETTERS as EMOTIONS
from voice_data import MEN, N_HEARD, TRAINED

NOISE_DB = (20.0, 15.0, 10.0, 5.0, 0.0)
ENGLISH = (
    "Today I met an old friend, and we talked for hours.",
    "The train was late again, so I missed the meeting.",
    "I am a little worried about tomorrow.",
    "My mother called me in the evening.",
    "It rained the whole day and I stayed at home.",
    "We had soup and bread for lunch.",
    "Nobody remembered my birthday, which hurt.",
    "I finished the book that you gave me.",
)
ENGLISH_VOICES = ("en-us", "en-gb", "en-us+f2", "en-gb+m3", "en-us+f4")


def write_set(folder: Path, columns: Sequence[str], rows: Iterable[tuple[Wave | None, Sequence[str]]]) -> None:
    """Write clips as FLAC beside a `clips.csv` of their paths and the columns given."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "clips.csv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(["path", *columns])
        for index, (wave, cells) in enumerate(tqdm(rows, desc=folder.name, leave=False, mininterval=5)):
            name = "" if wave is None else f"{index:03d}.flac"
            if wave is not None:
                soundfile.write(folder / name, np.clip(wave, -1, 1), SAMPLE_RATE_HZ, subtype="PCM_16")
            table.writerow([name, *cells])


def main() -> None:
    """Read the arguments and write every set."""
    parser = argparse.ArgumentParser(description="Make the test sets of the model cards.")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, speech/ko and emotion/emodb")
    parser.add_argument("--out", type=Path, default=Path("build/sets"))
    parser.add_argument("--sentences", type=int, default=300, help="size of the larger sets")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng, draw, speaker = random.Random(arguments.seed), np.random.default_rng(arguments.seed), Speaker()
    held_out = prepare_text(arguments.data, arguments.seed, DIARY_TEST)[1][: arguments.sentences]
    diary, out = list(DIARY_TEST), arguments.out
    threes = [diary[i : i + 3] for i in range(0, len(diary) - 2, 3)]
    voices = [LEFT_OUT_VARIANTS[index % len(LEFT_OUT_VARIANTS)] for index in range(len(held_out))]

    def say(text: str, variant: str = "") -> Wave:
        return speaker.clip([text], variant, rng)

    write_set(out / "clean", ["text"], ((say(text), [text]) for text in held_out))
    for decibels in NOISE_DB:
        noisy = ((with_noise(say(text), decibels, draw), [text]) for text in held_out)
        write_set(out / f"noise_{decibels:.0f}db", ["text"], noisy)
    spoken = ((say(text, voice), [text, voice]) for text, voice in zip(held_out, voices, strict=True))
    write_set(out / "left_out_voices", ["text", "speaker"], spoken)
    write_set(out / "diary", ["text"], ((say(text), [text]) for text in diary))
    write_set(
        out / "three_sentences", ["text"], ((speaker.clip(texts, "", rng), [" ".join(texts)]) for texts in threes)
    )
    english = [(text, voice) for text in ENGLISH for voice in ENGLISH_VOICES]
    write_set(out / "english", ["lang"], ((in_another_language(text, voice), ["ko"]) for text, voice in english))
    quiet = [np.zeros(10 * SAMPLE_RATE_HZ, np.float32)]
    quiet += [sound(kind, draw, 10 * SAMPLE_RATE_HZ) * np.float32(draw.uniform(0.02, 0.8)) for kind in KINDS * 3]
    write_set(out / "no_speech", [], ((wave, []) for wave in quiet))

    human = arguments.data / "speech" / "ko"
    names = [HUMAN_CLIP, *sorted(path.name for path in human.glob("*.wav") if path.name != HUMAN_CLIP)]
    write_rows(out / "human.csv", [[human / name, HUMAN_TEXT if name == HUMAN_CLIP else ""] for name in names])
    kote = read_kote(arguments.data / "text" / "kote_test.tsv")
    asked = [row for row in range(len(kote.texts)) if kote.six[row].max() == 1.0]
    comments = [["", kote.texts[row], LABELS[kote.six[row].argmax()]] for row in asked]
    write_rows(out / "comments.csv", comments)
    for kind in ("comment", "diary"):
        written = [sentence for sentence in written_sentences("test") if sentence.kind == kind]
        write_rows(out / f"written_{kind}.csv", [["", sentence.text, sentence.label] for sentence in written])
    entries = list(entries_of(LABELS))
    write_set(
        out / "entries",
        ["text", "emotion"],
        ((speaker.clip(texts, "", rng), [" ".join(texts), label]) for texts, label in entries),
    )
    write_acted(arguments.data / "emotion" / "emodb", out)


def entries_of(labels: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """Diary entries of two written sentences each, of one label, that no model was trained on."""
    for label in labels:
        texts = [one.text for one in written_sentences("test") if one.kind == "diary" and one.label == label]
        for start in range(0, len(texts) - 1, 2):
            yield texts[start : start + 2], label


def write_acted(emodb: Path, out: Path) -> None:
    """Write EmoDB's clips of the five emotions, all and by speaker, and joined to recordings of 8 s and more."""
    heard = [path for path in sorted(emodb.glob("*.flac")) if EMOTIONS[path.stem[5]] in TRAINED[:N_HEARD]]
    joined: dict[tuple[str, str], list[Wave]] = {}
    rows: dict[str, list[list[object]]] = {}
    for path in heard:
        speaker, emotion = path.stem[:2], EMOTIONS[path.stem[5]]
        gender = "MALE" if speaker in MEN else "FEMALE"
        rows.setdefault(speaker, []).append([path, "", emotion, gender, speaker])
        joined.setdefault((speaker, emotion), []).append(soundfile.read(path, dtype="float32")[0])
    for speaker, own in rows.items():
        write_rows(out / f"acted_{speaker}.csv", own)
    write_rows(out / "acted.csv", [row for own in rows.values() for row in own])
    long = []
    for (speaker, emotion), waves in joined.items():
        parts: list[Wave] = []
        for wave in waves:
            parts += [wave, np.zeros(SAMPLE_RATE_HZ // 3, np.float32)]
            if sum(map(len, parts)) >= 8 * SAMPLE_RATE_HZ:
                long.append((np.concatenate(parts), [emotion, "MALE" if speaker in MEN else "FEMALE", speaker]))
                parts = []
    write_set(out / "acted_long", ["emotion", "gender", "speaker"], long)


def in_another_language(text: str, voice: str) -> Wave:
    """The espeak-ng program's speech at 16 kHz."""
    command = ["espeak-ng", "-v", voice, "--stdout", text]
    spoken = subprocess.run(command, capture_output=True, check=True).stdout
    samples, rate = soundfile.read(io.BytesIO(spoken), dtype="float32")
    return np.asarray(soxr.resample(samples, rate, SAMPLE_RATE_HZ), np.float32)


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write a manifest of files that stay where they are, or of words alone."""
    with path.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream)
        written = [["" if cell == "" else str(cell) for cell in row] for row in rows]
        columns = ["path", "text", "emotion", "gender", "speaker"][: len(written[0])]
        table.writerows([columns, *([str(Path(row[0]).resolve()) if row[0] else "", *row[1:]] for row in written)])


if __name__ == "__main__":
    main()
