"""The speech model's sentences, of public text sets and this project's own, cleaned for espeak-ng; and the tokenizer.

espeak-ng spells Latin letters and switches voice for digits, so only Hangul with ``. , ? !`` is kept.
"""

import hashlib
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from faster_whisper.tokenizer import Tokenizer as FasterWhisperTokenizer
from speech_diary import diary_line
from text_written import written_sentences
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

TEXT_COLUMNS = {
    "kote_val": 1,
    "kote_test": 1,
    "goemotions_ko_train": 0,
    "goemotions_ko_dev": 0,
    "goemotions_ko_test": 0,
}
NOUN = re.compile("([가-힣]{2,5}?)(?:에서|에게|까지|부터|을|를)[.,?!]?$")
HELD_OUT_PERCENT = 1.0
DIARY_SHARE = 0.3  # made-up lines per sentence of the text sets
MIN_COUNT = 5  # of a piece, for it to be kept
SHUFFLED_SHARE = 0.25  # sentences of shuffled words, so that spelling is learned apart from syntax

# faster-whisper suppresses the first token of each of these; were that the space, no word could follow another.
SUPPRESSED_STRINGS = (" -", " '", " ♩", " ♪", " ♫", " ♬", " ♭", " ♮", " ♯")
SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|ko|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
TIMESTAMP_STEP_S = 0.02
N_TIMESTAMPS = 1501


def letters(text: str) -> str:
    """Hangul syllables of a text alone: what held-out membership is decided on."""
    return re.sub("[^가-힣]", "", text)


def clean_sentences(line: str) -> Iterator[str]:
    """Sentences of one line that espeak-ng can speak as written."""
    if re.search("[A-Za-z0-9ㄱ-ㅎㅏ-ㅣ]", line):
        return
    for part in re.split(r"(?<=[.?!])\s+|\n", line):
        text = re.sub(r"\s+", " ", re.sub("[^가-힣 .?!,]", " ", part)).strip(" ,")
        text = re.sub(r"\s+([.?!,])", r"\1", text)
        text = re.sub(r"([.?!,])[.?!, ]*$", r"\1", text)
        text = text if re.search(r"[.?!]$", text) else text.rstrip(",") + "."
        if not 3 <= len(letters(text)) <= 40 or re.search(r"[.?!]", text[:-1]) or re.search(r",\S", text):
            continue
        # Words this long are unspaced comments, whose spaces no one could hear.
        if max(len(letters(word)) for word in text.split()) <= 8 and not re.search(r"(.)\1\1", text):
            yield text


def _hash(text: str) -> bytes:
    return hashlib.sha256(letters(text).encode()).digest()


def prepare_text(data: Path, seed: int, own_test: Iterable[str]) -> tuple[list[str], list[str]]:
    """Sentences to train on and sentences held out.

    Args:
        data: folder that holds ``text/*.tsv``.
        seed: decides the made-up lines and the order.
        own_test: further test sentences, kept out of both lists.

    Returns:
        Training sentences in random order, and held-out ones, chosen and ordered by a hash of their letters.
    """
    rng = random.Random(seed)
    found: set[str] = set()
    for name, column in TEXT_COLUMNS.items():
        for line in (data / "text" / f"{name}.tsv").read_text(encoding="utf-8").splitlines():
            cells = line.split("\t")
            if len(cells) > column:
                found.update(clean_sentences(cells[column]))
    corpus = sorted(found)
    counts = Counter(match[1] for text in corpus for word in text.split() if (match := NOUN.match(word)))
    nouns = sorted(noun for noun, count in counts.items() if count >= 2)
    diary = {diary_line(rng, nouns) for _ in range(int(len(corpus) * DIARY_SHARE))}
    bag = [word.rstrip(",.?!") for text in corpus for word in text.split()]
    shuffled = {
        " ".join(rng.choices(bag, k=rng.randint(2, 6))) + rng.choice(".?!")
        for _ in range(int(len(corpus) * SHUFFLED_SHARE))
    }
    written = {text for one in written_sentences("train") for text in clean_sentences(one.text)}
    excluded = {letters(text) for text in own_test}
    excluded |= {letters(text) for one in written_sentences("test") for text in clean_sentences(one.text)}
    train, held_out = [], []
    for text in itertools.chain(corpus, sorted(diary), sorted(shuffled), sorted(written)):
        key = letters(text)
        if key in excluded:
            continue
        share = int.from_bytes(_hash(text)[:4], "big") / 2**32
        if share >= HELD_OUT_PERCENT / 100:
            train.append(text)
        elif text in found:
            held_out.append(text)
    rng.shuffle(train)
    return train, sorted(held_out, key=_hash)


def build_tokenizer(sentences: Iterable[str], whisper: Tokenizer) -> Tokenizer:
    """Whisper's byte-level BPE without the pieces that Korean has no use for, with its special tokens last.

    Args:
        sentences: are spelled with the same pieces as in Whisper's own vocabulary.
        whisper: its multilingual tokenizer.
    """
    model = json.loads(whisper.to_str())["model"]
    merges = [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in model["merges"]]
    parents = {"".join(pair): pair for pair in reversed(merges)}
    spelled = whisper.encode_batch([*(f" {text}" for text in sentences), *SUPPRESSED_STRINGS], add_special_tokens=False)
    counts = Counter(piece for one in spelled for piece in one.tokens)
    wanted = [piece for piece, count in counts.items() if count >= MIN_COUNT]
    wanted += [piece for one in spelled[-len(SUPPRESSED_STRINGS) :] for piece in one.tokens]
    kept = set(pre_tokenizers.ByteLevel.alphabet())
    while wanted:
        piece = wanted.pop()
        if piece not in kept:
            kept.add(piece)
            wanted.extend(parents[piece])
    pieces = sorted(kept, key=model["vocab"].__getitem__)
    tokenizer = Tokenizer(
        models.BPE(
            {piece: index for index, piece in enumerate(pieces)},
            [pair for pair in merges if {*pair, "".join(pair)} <= kept],
        )
    )
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    # Ids from <|endoftext|> on are dropped by faster-whisper and those after <|notimestamps|> are times.
    times = (f"<|{index * TIMESTAMP_STEP_S:.2f}|>" for index in range(N_TIMESTAMPS))
    tokenizer.add_special_tokens([*SPECIAL_TOKENS, *times])
    space = tokenizer.encode(" ").ids[0]
    if space in FasterWhisperTokenizer(tokenizer, multilingual=False).non_speech_tokens:
        raise ValueError("faster-whisper would suppress the space")
    return tokenizer


def token_of(tokenizer: Tokenizer, name: str) -> int:
    """Id of a special token."""
    index = tokenizer.token_to_id(name)
    if index is None:
        raise ValueError(f"the tokenizer lacks {name}")
    return int(index)
