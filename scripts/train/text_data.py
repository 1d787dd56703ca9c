"""KOTE and GoEmotions-Korean: reading them, and what their labels mean in our six."""

import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LABELS = ("기쁨", "당황", "분노", "불안", "상처", "슬픔")

KOTE_LABELS = (
    *("불평/불만", "환영/호의", "감동/감탄", "지긋지긋", "고마움", "슬픔", "화남/분노", "존경", "기대감"),
    *("우쭐댐/무시함", "안타까움/실망", "비장함", "의심/불신", "뿌듯함", "편안/쾌적", "신기함/관심", "아껴주는"),
    *("부끄러움", "공포/무서움", "절망", "한심함", "역겨움/징그러움", "짜증", "어이없음", "없음"),
    *("패배/자기혐오", "귀찮음", "힘듦/지침", "즐거움/신남", "깨달음", "죄책감", "증오/혐오"),
    *("흐뭇함(귀여움/예쁨)", "당황/난처", "경악", "부담/안_내킴", "서러움", "재미없음", "불쌍함/연민"),
    *("놀람", "행복", "불안/걱정", "기쁨", "안심/신뢰"),
)

KOTE_TO_SIX = {
    "기쁨": "기쁨",  # the same word
    "행복": "기쁨",  # happiness: joy that lasts
    "즐거움/신남": "기쁨",  # fun and excitement: joy while it happens
    "당황/난처": "당황",  # flustered, in an awkward spot: the definition of 당황
    "화남/분노": "분노",  # the same word; annoyance (짜증) goes with too many other labels to say anger
    "불안/걱정": "불안",  # anxiety and worry: the definition of 불안
    "서러움": "상처",  # the sorrow of having been treated badly: the only KOTE label with an offender in it
    "슬픔": "슬픔",  # the same word
}
"""The other 36 KOTE labels say nothing certain about the six; they train the auxiliary head only."""

GOEMOTIONS_TO_SIX = {
    "joy": "기쁨",  # the same word
    "amusement": "기쁨",  # KOTE's 즐거움
    "excitement": "기쁨",  # KOTE's 신남
    "love": "기쁨",  # affection felt, warm and bright
    "pride": "기쁨",  # joy about something achieved
    "relief": "기쁨",  # what diaries call 다행이다, a bright ending
    "embarrassment": "당황",  # the English word that 당황 is translated with
    "confusion": "당황",  # not knowing what to do: KOTE's 난처
    "anger": "분노",  # the same word
    "annoyance": "분노",  # milder anger; GoEmotions has no label between
    "fear": "불안",  # what may come, stronger
    "nervousness": "불안",  # what may come, milder
    "disappointment": "상처",  # let down by somebody: the nearest that GoEmotions has to hurt
    "remorse": "상처",  # pain about what was done between people
    "grief": "슬픔",  # sadness about a loss
    "sadness": "슬픔",  # the same word
}
"""The other 12 say nothing about the six. A comment whose labels point at two of the six trains none of them."""


@dataclass(frozen=True, slots=True, eq=False)
class Comments:
    """Comments and what is known about each.

    Attributes:
        ids: each one's own in its data set.
        texts: NFC.
        targets: float32, shape (n, n_own_labels): 1 where the data set's own label is given.
        six: float32, shape (n, 6): the groups that the labels point at, summing to 1, or all 0.
    """

    ids: list[str]
    texts: list[str]
    targets: Floats
    six: Floats

    @property
    def single(self) -> NDArray[np.int64]:
        """Rows that point at exactly one of the six."""
        return np.flatnonzero(self.six.max(axis=1) == 1.0)

    def take(self, rows: NDArray[np.int64]) -> "Comments":
        """The given rows only, in the given order."""
        ids, texts = ([one[row] for row in rows] for one in (self.ids, self.texts))
        return Comments(ids, texts, self.targets[rows], self.six[rows])


def to_comments(lines: list[tuple[str, str, str]], names: tuple[str, ...], table: dict[str, str]) -> Comments:
    """Turn (id, text, comma-separated label numbers) into targets."""
    targets = np.zeros((len(lines), len(names)), dtype=np.float32)
    for row, (_, _, numbers) in enumerate(lines):
        targets[row, [int(number) for number in numbers.split(",") if number]] = 1.0
    groups = np.zeros((len(names), len(LABELS)), dtype=np.float32)
    for name, label in table.items():
        groups[names.index(name), LABELS.index(label)] = 1.0
    six = ((targets @ groups) > 0).astype(np.float32)
    six /= np.maximum(six.sum(axis=1, keepdims=True), 1.0)
    texts = [unicodedata.normalize("NFC", text) for _, text, _ in lines]
    return Comments([name for name, _, _ in lines], texts, targets, six)


def read_lines(path: Path) -> list[list[str]]:
    """Tab-separated lines; the files have no header and quote nothing."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line]


def read_kote(path: Path) -> Comments:
    """Read `id, text, numbers` lines of KOTE."""
    return to_comments([(line[0], line[1], line[2]) for line in read_lines(path)], KOTE_LABELS, KOTE_TO_SIX)


def read_goemotions(folder: Path) -> Comments:
    """Read all three parts of GoEmotions-Korean; the test set of this model is KOTE's.

    They have no ids: a comment's is its part and its row there, from 0, as in `dev-17`.
    """
    names = tuple((folder / "goemotions_labels.txt").read_text(encoding="utf-8").split())
    lines = [
        (f"{part}-{row}", line[0], line[1])
        for part in ("train", "dev", "test")
        for row, line in enumerate(read_lines(folder / f"goemotions_ko_{part}.tsv"))
    ]
    return to_comments(lines, names, GOEMOTIONS_TO_SIX)


def as_spoken(text: str) -> str:
    """What speech-to-text would leave: no emoticons (ㅋㅋ, ㅠㅠ), no punctuation.

    The transcript is classified sentence by sentence, so that even its full stops are gone by then.
    """
    return re.sub(r"\s+", " ", re.sub(r"[ㄱ-ㅎㅏ-ㅣ]+|[^\w\s]+", " ", text)).strip() or text
