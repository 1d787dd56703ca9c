"""The list of clips and the truth about them: a CSV file with a header."""

from __future__ import annotations

import csv
import os
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maeum.audio.features import Gender
from maeum.errors import InvalidField, InvalidManifest
from maeum.evaluation.spaces import label_spaces
from maeum.fusion import Fusion
from maeum.speech_languages import parse_language

COLUMNS = ("path", "text", "emotion", "gender", "lang", "speaker")
_WORKBOOKS = (".xlsx", ".xls", ".ods", ".numbers")
_WRONG_SHOWN = 10


@dataclass(frozen=True, slots=True)
class Clip:
    """One row.

    Attributes:
        line: number of the row's line in the manifest.
        path: as the manifest writes it; of a row without one, its line.
        file: where it is, relative paths counted from the manifest's folder; None where there are only words.
        text: what is said, or None.
        emotion: a label as the models spell it, or None.
        gender: whose baseline normalises the voice; None, not given, takes `MALE`'s.
        language: code for speech-to-text.
        speaker: who speaks, or None.
    """

    line: int
    path: str
    file: Path | None
    text: str | None = None
    emotion: str | None = None
    gender: str | None = None
    language: str = "ko"
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class Manifest:
    """All rows, in the file's order, and the names of columns that nobody reads."""

    path: Path
    clips: tuple[Clip, ...]
    ignored_columns: tuple[str, ...]


def read_manifest(path: Path, fusion: Fusion, languages: frozenset[str]) -> Manifest:
    """Read and check a manifest.

    Args:
        path: CSV in UTF-8 with a header; any of `COLUMNS`, in any case. An empty cell counts as not given. A row
            without a path is words only, and needs a text.
        fusion: knows the labels; a label's case matters only where two differ in nothing else.
        languages: codes that the speech model can transcribe.

    Raises:
        InvalidManifest: the file is not readable, a column is missing, or a cell is not valid.
    """
    reader = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            columns = [column.strip().casefold() for column in reader.fieldnames or ()]
            _check_columns(columns)
            reader.fieldnames = columns
            known = tuple(dict.fromkeys(label for labels in label_spaces(fusion).values() for label in labels))
            clips, wrong = [], []
            for row in reader:
                try:
                    if not _is_blank(row):
                        clips.append(_clip(row, reader.reader.line_num, path.parent, known, languages))
                except InvalidManifest as error:
                    wrong.append(error.message)
    except UnicodeDecodeError:
        if path.suffix.lower() in _WORKBOOKS:
            raise InvalidManifest(f"{path.name} is a workbook: save its sheet as CSV in UTF-8") from None
        raise InvalidManifest(
            f"the manifest {path.name} is not UTF-8: save it as such (in Excel “CSV UTF-8”, not plain CSV)"
        ) from None
    except OSError as error:
        raise InvalidManifest(f"the manifest {path.name} cannot be read: {error.strerror}") from None
    except csv.Error as error:
        line = reader.reader.line_num if reader else 1
        raise InvalidManifest(f"the manifest {path.name} cannot be read: line {line}: {error}") from None
    if wrong:
        more = f"; and {len(wrong) - _WRONG_SHOWN} lines more" if len(wrong) > _WRONG_SHOWN else ""
        raise InvalidManifest("; ".join(wrong[:_WRONG_SHOWN]) + more)
    if not clips:
        raise InvalidManifest(f"the manifest {path.name} lists no clip")
    ignored = (column for column in columns if column not in ("", *COLUMNS))
    return Manifest(path, tuple(clips), tuple(ignored))


def _is_blank(row: dict[str, str | None]) -> bool:
    """Whether a row is commas alone, as a spreadsheet writes below its last one."""
    return None not in row and not any((value or "").strip() for value in row.values())


def _check_columns(columns: list[str]) -> None:
    if not {"path", "text"} & set(columns):
        divided = next((sign for sign in (";", "\t") if any(sign in column for column in columns)), None)
        advice = f"; its cells are divided by {divided!r}, and must be by commas" if divided else ""
        raise InvalidManifest(
            f"the manifest's first line must name the column path, or text; it is {','.join(columns)!r}{advice}"
        )
    twice = sorted({column for column in columns if column and columns.count(column) > 1})
    if twice:
        raise InvalidManifest(f"the manifest names a column twice: {', '.join(twice)}")


def _clip(row: dict[str, str | None], line: int, folder: Path, known: Sequence[str], languages: frozenset[str]) -> Clip:
    if None in row or None in row.values():
        raise InvalidManifest(f"line {line} of the manifest has more or fewer cells than the first line")
    # Lists from a Mac have decomposed letters.
    cells = {column: unicodedata.normalize("NFC", (value or "").strip()) for column, value in row.items()}
    path = (row.get("path") or "").strip()
    if not (path or cells.get("text")) or "\0" in path:
        raise InvalidManifest(f"line {line} of the manifest has neither a path nor a text")
    emotion = cells.get("emotion")
    label = _label_called(emotion, known) if emotion else None
    if emotion and label is None:
        raise InvalidManifest(
            f"line {line} of the manifest: the emotion {emotion!r} is none of {', '.join(known)}; leave it "
            "empty for a clip of another"
        )
    try:
        gender = Gender.parse(cells["gender"]).value if cells.get("gender") else None
        language = parse_language(cells.get("lang") or "")
    except InvalidField as error:
        raise InvalidManifest(f"line {line} of the manifest: {error.message}") from None
    if path and language not in languages:
        raise InvalidManifest(f"line {line} of the manifest: the speech model does not transcribe {language!r}")
    return Clip(
        line=line,
        path=path or f"line {line}",
        file=_find(folder, path) if path else None,
        text=cells.get("text") or None,
        emotion=label,
        gender=gender,
        language=language,
        speaker=cells.get("speaker") or None,
    )


def _label_called(name: str, labels: Sequence[str]) -> str | None:
    alike = [label for label in labels if label.casefold() == name.casefold()]
    if name in alike:
        return name
    return alike[0] if len(alike) == 1 else None


def _find(folder: Path, path: str) -> Path:
    """The file that a path names, whichever way its letters are composed there: Macs and others differ."""
    forms = (path, unicodedata.normalize("NFC", path), unicodedata.normalize("NFD", path))
    return folder / next((form for form in forms if os.path.exists(folder / form)), path)
