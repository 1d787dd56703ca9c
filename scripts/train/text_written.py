"""Sentences written for this project: online comments and spoken diary entries, each of one clear emotion.

Comments under articles seldom say what a diary says, translated ones sound translated, and templates repeat
themselves. A large language model wrote these, one by one, most without naming the feeling. `text_written.tsv` holds
a line for each: label, `comment` or `diary`, `train` or `test`, and the sentence. Those for the test are never trained
on.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

FILE = Path(__file__).with_suffix(".tsv")


@dataclass(frozen=True, slots=True)
class Written:
    """One sentence.

    Attributes:
        label: one of the six.
        kind: `comment`, as it is typed, or `diary`, as it is spoken.
        part: what it is for, `train` or `test`.
        text: NFC.
    """

    label: str
    kind: str
    part: str
    text: str


def written_sentences(part: Literal["train", "test"]) -> list[Written]:
    """Read those for training or those for the test."""
    lines = FILE.read_text(encoding="utf-8").splitlines()
    sentences = [Written(*line.split("\t")) for line in lines]
    return [sentence for sentence in sentences if sentence.part == part]
