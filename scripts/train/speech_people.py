"""People speaking, in whatever language, and what Whisper takes them to say in Korean."""

import random
import subprocess
from collections.abc import Iterator, Sequence
from itertools import chain, groupby
from operator import itemgetter
from pathlib import Path

import av
import ctranslate2
import numpy as np
import soxr
from numpy.typing import NDArray
from speech_folder import write_folder
from speech_network import Whisper
from speech_text import token_of
from speech_voice import SAMPLE_RATE_HZ, Utterance, trim, write_shard
from speech_windows import log_mel
from tokenizers import Tokenizer
from tqdm import tqdm, trange

Wave = NDArray[np.float32]
# Debian's: a game in which actors speak (GPL-2), letters and syllables by volunteers in some twenty languages (GPL-2),
# what volunteers say of a drawing program's stamps in ten languages (GPL-2), and the announcements of a telephone
# exchange by four speakers (CC BY-SA 3.0).
PACKAGES = (
    *(f"fillets-ng-data-{language}" for language in ("cs", "nl")),
    "klettres-data",
    "tuxpaint-stamps-default",
    *(f"asterisk-core-sounds-{language}-g722" for language in ("en", "es", "fr", "it")),
)
KINDS = (".ogg", ".g722", ".flac")
LEAST_S, MOST_S = 3.0, 8.0
SHARD_WINDOWS = 50
WINDOWS_AT_A_TIME = 16
FRAMES_PER_S = 100
PADDED_S = 12.0  # Whisper is slower on 30 s, and goes on and on without any padding
MAX_TOKENS = 50  # after more than that Whisper is repeating itself


def debian_package(name: str, work: Path) -> Path:
    """Folder of what a package holds, under `work`; brought by apt when it is not there."""
    folder = work / "debian" / name
    if not folder.exists():
        folder.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", name], check=True, cwd=folder.parent, capture_output=True)
        packed = next(folder.parent.glob(f"{name}_*.deb"))
        subprocess.run(["dpkg-deb", "-x", packed, folder.with_suffix(".part")], check=True)
        folder.with_suffix(".part").rename(folder)
    return folder


def read_sound(path: Path) -> Wave:
    """A recording at 16 kHz, shape (n_samples,); what cannot be decoded is empty."""
    parts = []
    try:
        with av.open(str(path), format="g722" if path.suffix == ".g722" else None) as container:
            resampler = av.AudioResampler("s16", "mono", SAMPLE_RATE_HZ)
            for frame in container.decode(audio=0):
                parts += [one.to_ndarray()[0] for one in resampler.resample(frame)]
            parts += [one.to_ndarray()[0] for one in resampler.resample(None)]
    except av.FFmpegError as error:
        tqdm.write(f"{path.name}: {error}")
    return np.float32(1 / 32768) * np.concatenate([*parts, np.zeros(0, np.int16)]).astype(np.float32)


def recordings(folder: Path) -> Iterator[tuple[Path, Path]]:
    """Where people speak: what the same people say has the same first path.

    Tux Paint's stamps lie in many folders, each with a picture's noise and what it is called in several languages.
    """
    for path in folder.rglob("*"):
        _, described, language = path.stem.partition("_desc")
        if path.suffix in KINDS and (described or "stamps" not in path.parts):
            yield Path(language) if described else path.parent, path


def windows(folders: Sequence[Path], rng: random.Random) -> Iterator[Wave]:
    """What the same people say one after the other, 3 to 8 s at a time."""
    found = sorted(chain.from_iterable(map(recordings, folders)))
    for _, together in groupby(found, key=itemgetter(0)):
        parts: list[Wave] = []
        for _, path in together:
            wave = read_sound(path)[: round(MOST_S * SAMPLE_RATE_HZ)]
            if not len(wave) or float(np.abs(wave).max()) < 0.02:
                continue
            if sum(map(len, parts)) + len(wave) > MOST_S * SAMPLE_RATE_HZ:
                yield np.concatenate(parts)
                parts = []
            parts += [wave, np.zeros(round(rng.uniform(0.05, 0.5) * SAMPLE_RATE_HZ), np.float32)]
            if sum(map(len, parts)) >= LEAST_S * SAMPLE_RATE_HZ:
                yield np.concatenate(parts)
                parts = []
        if parts:
            yield np.concatenate(parts)


def hear(whisper: ctranslate2.models.Whisper, tokenizer: Tokenizer, waves: Sequence[Wave]) -> list[str]:
    """The likeliest Korean text of each; empty where it has no end."""
    whole = round(PADDED_S * FRAMES_PER_S)
    mel = np.stack([np.pad(log_mel(wave).numpy(), ((0, 0), (0, whole)))[:, :whole] for wave in waves])
    prompt = [token_of(tokenizer, name) for name in ("<|startoftranscript|>", "<|notimestamps|>")]
    found = whisper.generate(
        ctranslate2.StorageView.from_array(mel),
        [prompt] * len(waves),
        beam_size=1,
        max_length=2 * MAX_TOKENS,  # it writes half of that at most
    )
    rows = [result.sequences_ids[0] for result in found]
    return ["" if len(row) >= MAX_TOKENS else tokenizer.decode(row).strip() for row in rows]


def another_head(utterance: Utterance, rng: random.Random) -> Utterance:
    """The same as somebody larger or smaller would say it, at another pace."""
    share = rng.uniform(0.8, 1.25)
    pcm = soxr.resample(utterance.pcm, SAMPLE_RATE_HZ * share, SAMPLE_RATE_HZ, quality="MQ")
    return Utterance(utterance.text, pcm, [time / share for time in utterance.starts_s])


def ears(whisper: Whisper, tokenizer: Tokenizer, folder: Path) -> ctranslate2.models.Whisper:
    """A network in eight bits for `hear`, written to a folder."""
    write_folder(whisper, tokenizer, folder, [])
    return ctranslate2.models.Whisper(str(folder), compute_type="int8", intra_threads=2)


def write_people(
    folders: Sequence[Path], whisper: ctranslate2.models.Whisper, tokenizer: Tokenizer, out: Path, seed: int
) -> Path:
    """Write shards of people in which the texts are what Whisper hears.

    Args:
        folders: of recordings.
        whisper: which needs no tokens for language and task.
        tokenizer: of the network.
        out: where to; what is there already stays as it is.
        seed: of what is drawn.

    Returns:
        ``out``.
    """
    if not out.exists():
        part = out.with_suffix(".part")
        part.mkdir(parents=True, exist_ok=True)
        rng = random.Random(seed)
        waves = list(tqdm(windows(folders, rng), "people"))
        rng.shuffle(waves)
        heard: list[Utterance] = []
        for first in trange(0, len(waves), WINDOWS_AT_A_TIME, desc="heard"):
            some = waves[first : first + WINDOWS_AT_A_TIME]
            for wave, text in zip(some, hear(whisper, tokenizer, some), strict=True):
                found = trim(wave, 0.05, 0.1)
                if text and found:
                    heard.append(Utterance(text, found[0], [0.0] * len(text)))
        for index in range(-(-len(heard) // SHARD_WINDOWS)):
            write_shard(part / f"{index:05d}", heard[index * SHARD_WINDOWS :][:SHARD_WINDOWS])
        part.rename(out)
    return out
