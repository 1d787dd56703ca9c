"""Which recordings `maeum analyze` is told of, and the file that keeps their analyses."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from maeum.errors import InvalidField
from maeum.schemas import AnalysisBody, ErrorDetail

SUFFIXES = frozenset(
    {".3gp", ".aac", ".aif", ".aiff", ".amr", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4"}
    | {".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma"}
)
_BOM = "\ufeff"  # without it a spreadsheet takes Korean for something else


def find_recordings(paths: Sequence[str]) -> list[str]:
    """Files as they are named; of a folder all below it that are called like recordings, in the order of their paths.

    Raises:
        InvalidField: a folder holds none (code `no_recordings`).
    """
    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = [os.path.join(folder, name) for folder, _, names in os.walk(path) for name in names]
        recordings = sorted(file for file in below if os.path.splitext(file)[1].lower() in SUFFIXES)
        if not recordings:
            raise InvalidField(f"the folder {name_of(path)} holds no recordings", code="no_recordings")
        found += recordings
    return found


def name_of(file: str) -> str:
    """A path as text: what is no UTF-8 in it is replaced."""
    return os.fsencode(file).decode("utf-8", errors="replace")


class _Format(Protocol):
    """How analyses are laid out in a file."""

    def head(self) -> str:
        """What the file begins with."""
        ...

    def line(self, name: str, outcome: AnalysisBody | ErrorDetail) -> str:
        """One recording's."""
        ...

    def kept(self, text: str) -> Iterator[tuple[str, str]]:
        """Name and line of every recording that has an analysis in `text`; not of one that failed, or was cut off.

        Raises:
            ValueError: the text is no file of analyses.
        """
        ...


class _JsonLines:
    """An object a line: the answer of `/v1/analyze`, after the file's name."""

    def head(self) -> str:
        return ""

    def line(self, name: str, outcome: AnalysisBody | ErrorDetail) -> str:
        return as_json(name, outcome) + "\n"

    def kept(self, text: str) -> Iterator[tuple[str, str]]:
        lines = text.split("\n")  # the last one is empty, or was cut off
        for line in lines[:-1]:
            values = json.loads(line)
            if not isinstance(values, dict) or not isinstance(values.get("file"), str):
                raise ValueError("a line is no analysis")
            if "error" not in values:
                yield values["file"], line + "\n"


class _Csv:
    """A row a recording, for spreadsheets."""

    def __init__(self, text_labels: Sequence[str], voice_labels: Sequence[str]) -> None:
        self._text_labels, self._voice_labels = text_labels, voice_labels
        self.columns = [
            "file", "transcript", "duration_s", "confidence", "emotion", *text_labels,
            *(f"text {label}" for label in text_labels), *(f"voice {label}" for label in voice_labels),
            "summary", "warnings", "error",
        ]  # fmt: skip

    def head(self) -> str:
        return _BOM + _row(self.columns)

    def line(self, name: str, outcome: AnalysisBody | ErrorDetail) -> str:
        values: dict[str, Any] = {"file": name}
        if isinstance(outcome, AnalysisBody):
            said, emotion, words = outcome.transcript, outcome.emotion, outcome.text_emotion or {}
            values |= {"transcript": said.text, "duration_s": said.duration_s, "confidence": said.confidence}
            values |= {"emotion": emotion.top, **dict(zip(emotion.labels, emotion.probabilities, strict=True))}
            values |= {f"text {label}": value for label, value in words.items()}
            values |= {f"voice {label}": value for label, value in outcome.voice_emotion.items()}
            values |= {"summary": outcome.summary.text, "warnings": " ".join(outcome.warnings)}
        else:
            values["error"] = f"{outcome.code}: {outcome.message}"
        return _row([values.get(column) for column in self.columns])

    def kept(self, text: str) -> Iterator[tuple[str, str]]:
        whole = text[: text.rfind("\n") + 1].removeprefix(_BOM)
        rows = csv.reader(whole.splitlines(keepends=True))
        if next(rows, None) != self.columns:
            raise ValueError("its columns are others")
        for row in rows:
            if len(row) == len(self.columns) and not row[-1]:
                yield row[0], _row(row)


def as_json(name: str, outcome: AnalysisBody | ErrorDetail) -> str:
    """One recording's outcome as a JSON object, without a line break."""
    body = outcome.model_dump() if isinstance(outcome, AnalysisBody) else {"error": outcome.model_dump()}
    return json.dumps({"file": name, **body}, ensure_ascii=False)


class Results:
    """The file of analyses: what it holds already need not be done again. A context manager.

    Args:
        path: `.csv` for a spreadsheet, anything else for JSON Lines.
        text_labels: of the text model.
        voice_labels: of the voice model.

    Raises:
        InvalidField: it cannot be read or written, or holds something else (code `unwritable_output`).
    """

    def __init__(self, path: Path, text_labels: Sequence[str], voice_labels: Sequence[str]) -> None:
        self._path = path
        self._format: _Format = _Csv(text_labels, voice_labels) if path.suffix.lower() == ".csv" else _JsonLines()
        self._stream: TextIO | None = None
        self.known: frozenset[str] = frozenset()

    def __enter__(self) -> Results:
        try:
            kept = self._read()
            self._path.parent.mkdir(parents=True, exist_ok=True)
            draft = self._path.with_name(f".{self._path.name}.{os.getpid()}")
            draft.write_text(self._format.head() + "".join(kept.values()), encoding="utf-8", newline="")
            draft.replace(self._path)
            self._stream = self._path.open("a", encoding="utf-8", newline="")
        except OSError as error:
            reason = error.strerror
        except ValueError:
            reason = "it holds something else than analyses; name another file"
        else:
            self.known = frozenset(kept)
            return self
        raise InvalidField(f"{self._path} cannot be written: {reason}", code="unwritable_output")

    def __exit__(self, *_: object) -> None:
        assert self._stream is not None
        self._stream.close()

    def write(self, name: str, outcome: AnalysisBody | ErrorDetail) -> None:
        """Add one recording's outcome at once.

        Raises:
            InvalidField: the file cannot be written any more.
        """
        assert self._stream is not None
        try:
            self._stream.write(self._format.line(name, outcome))
            self._stream.flush()
        except OSError as error:
            raise InvalidField(f"{self._path} cannot be written: {error.strerror}", code="unwritable_output") from None

    def _read(self) -> dict[str, str]:
        if not self._path.exists():
            return {}
        with self._path.open(encoding="utf-8", newline="") as stream:
            text = stream.read()
        return dict(self._format.kept(text)) if text else {}


def _row(values: Sequence[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerow(values)
    return stream.getvalue()
