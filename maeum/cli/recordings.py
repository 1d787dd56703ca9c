"""Which recordings `maeum analyze` is told of, and the file that keeps their analyses."""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from maeum.errors import InvalidField
from maeum.files import as_text, private
from maeum.schemas import AnalysisBody, ErrorDetail

SUFFIXES = frozenset(
    {".3gp", ".aac", ".aif", ".aiff", ".amr", ".caf", ".flac", ".m4a", ".mka", ".mp3", ".mp4"}
    | {".oga", ".ogg", ".opus", ".wav", ".weba", ".webm", ".wma"}
)
_BOM = "\ufeff"  # without it a spreadsheet takes Korean for something else
_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # what spreadsheets take for one
_LONGEST_CELL = 2**31 - 1  # characters; Python's own limit is the transcript of a few hours


def find_recordings(paths: Sequence[str]) -> list[str]:
    """Files as they are named; of a folder those in it and below that are called like recordings, ordered by path.

    Folders behind symbolic links are left out, and so are the `._…` files of Macs.

    Raises:
        InvalidField: a folder holds none (code `no_recordings`) or cannot be read (code `unreadable_folder`).
    """

    def refuse(error: OSError) -> None:
        folder = as_text(str(error.filename))
        raise InvalidField(f"the folder {folder} cannot be read: {error.strerror}", code="unreadable_folder") from error

    found: list[str] = []
    for path in paths:
        if not os.path.isdir(path):
            found.append(path)
            continue
        below = [os.path.join(folder, name) for folder, _, names in os.walk(path, onerror=refuse) for name in names]
        recordings = sorted(file for file in below if _is_called_like_one(os.path.basename(file)))
        if not recordings:
            raise InvalidField(f"the folder {as_text(path)} holds no recordings", code="no_recordings")
        found += recordings
    return found


def _is_called_like_one(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES and not name.startswith("._")


def as_json(name: str, outcome: AnalysisBody | ErrorDetail) -> str:
    """One recording's outcome as a JSON object, without a line break."""
    body = outcome.model_dump() if isinstance(outcome, AnalysisBody) else {"error": outcome.model_dump()}
    return json.dumps({"file": name, **body}, ensure_ascii=False)


class _Format(Protocol):
    """How analyses are laid out, each on a line of its own."""

    head: str
    """The first line, without its break; empty where there is none."""

    def key(self, name: str) -> str:
        """What `name` gives for the line of a recording."""
        ...

    def line(self, name: str, analysis: AnalysisBody) -> str:
        """One recording's, without its break."""
        ...

    def name(self, line: str) -> str:
        """The recording that a line is of.

        Raises:
            ValueError: the line is no analysis.
        """
        ...

    def is_cut(self, line: bytes, *, is_first: bool) -> bool:
        """Whether a line that is no analysis, and has no break, can be the beginning of one."""
        ...


class _JsonLines:
    """An object a line: the answer of `/v1/analyze`, after the file's name."""

    head = ""
    _START = b'{"file": "'

    def key(self, name: str) -> str:
        return name

    def line(self, name: str, analysis: AnalysisBody) -> str:
        return as_json(name, analysis)

    def name(self, line: str) -> str:
        values = json.loads(line)
        if not isinstance(values, dict) or not {"file", *AnalysisBody.model_fields} <= set(values):
            raise ValueError("a line is no analysis")
        return str(values["file"])

    def is_cut(self, line: bytes, *, is_first: bool) -> bool:
        try:
            json.loads(line)
        except ValueError:  # as a part of an object is no object
            return line.startswith(self._START) or self._START.startswith(line)
        return False


class _Csv:
    """A row a recording, for spreadsheets."""

    def __init__(self, text_labels: Sequence[str], voice_labels: Sequence[str]) -> None:
        self._columns = [
            "file", "transcript", "duration_s", "confidence", "emotion", *text_labels,
            *(f"text {label}" for label in text_labels), *(f"voice {label}" for label in voice_labels),
            "summary", "warnings",
        ]  # fmt: skip
        self.head = _BOM + _row(self._columns)
        csv.field_size_limit(_LONGEST_CELL)

    def key(self, name: str) -> str:
        return str(_cell(name))

    def line(self, name: str, analysis: AnalysisBody) -> str:
        said, emotion, words = analysis.transcript, analysis.emotion, analysis.text_emotion or {}
        values: dict[str, Any] = {
            "file": name,
            "transcript": said.text,
            "duration_s": said.duration_s,
            "confidence": said.confidence,
            "emotion": emotion.top,
            **dict(zip(emotion.labels, emotion.probabilities, strict=True)),
            **{f"text {label}": value for label, value in words.items()},
            **{f"voice {label}": value for label, value in analysis.voice_emotion.items()},
            "summary": analysis.summary.text,
            "warnings": " ".join(analysis.warnings),
        }
        return _row([_cell(values.get(column)) for column in self._columns])

    def name(self, line: str) -> str:
        try:
            (row,) = csv.reader([line], strict=True)  # which refuses a cell without an end
        except csv.Error as error:
            raise ValueError("a line is no row") from error
        if len(row) != len(self._columns) or not line.endswith('"'):
            raise ValueError("a row has other columns, or no end")
        return row[0]

    def is_cut(self, line: bytes, *, is_first: bool) -> bool:
        return self.head.encode().startswith(line) if is_first else line.startswith(b'"')


class Results:
    """The file of analyses: what it holds already need not be done again. A context manager.

    Lines are only added, and only one that was cut off is taken away. Recordings are known by their paths as they were
    given; those that failed are not in it.

    Args:
        path: `.csv` for a spreadsheet, anything else for JSON Lines.
        text_labels: of the text model.
        voice_labels: of the voice model.

    Raises:
        InvalidField: it cannot be read or written, another run is writing it, or it holds something else (code
            `unwritable_output`).
    """

    def __init__(self, path: Path, text_labels: Sequence[str], voice_labels: Sequence[str]) -> None:
        self._path = path
        self._format: _Format = _Csv(text_labels, voice_labels) if path.suffix.lower() == ".csv" else _JsonLines()
        self._file: io.FileIO | None = None
        self._known: set[str] = set()

    def __enter__(self) -> Results:
        try:
            if self._path.exists() and not self._path.is_file():
                raise OSError("it is no file")
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = io.FileIO(private(self._path, os.O_RDWR | os.O_CREAT), "r+")
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._read(self._file)
        except BlockingIOError:
            reason = "another run is writing it"
        except OSError as error:
            reason = error.strerror or str(error)
        except ValueError:
            reason = "it holds something else than analyses; name another file"
        else:
            return self
        self.__exit__()
        raise InvalidField(f"{self._path} cannot be written: {reason}", code="unwritable_output")

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def has(self, file: str) -> bool:
        """Whether it holds an analysis of this recording."""
        return self._format.key(as_text(file)) in self._known

    def write(self, file: str, analysis: AnalysisBody) -> None:
        """Add one recording's analysis at once.

        Raises:
            InvalidField: the file cannot be written any more.
        """
        self._write(self._format.line(as_text(file), analysis))

    def _write(self, line: str) -> None:
        assert self._file is not None
        left = memoryview(f"{line}\n".encode())
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise InvalidField(f"{self._path} cannot be written: {error.strerror}", code="unwritable_output") from None

    def _read(self, file: io.FileIO) -> None:
        """Learn which recordings are there, and stop behind the last whole line.

        Raises:
            ValueError: a line is no analysis, nor one that was cut off.
        """
        head, whole, ended = self._format.head, 0, True
        for number, line in enumerate(io.BufferedReader(io.FileIO(file.fileno(), closefd=False))):
            ended = line.endswith(b"\n")
            try:
                text = line.removesuffix(b"\n").decode("utf-8")
                if head and not number:
                    if text != head:
                        raise ValueError("its columns are others")
                else:
                    self._known.add(self._format.name(text))
            except ValueError:
                if ended or not self._format.is_cut(line, is_first=not number):
                    raise
                break
            whole += len(line)
        else:
            if not ended:  # an editor may have taken the last break away
                file.seek(whole)
                self._write("")
                return
        file.truncate(whole)
        file.seek(whole)
        if head and not whole:
            self._write(head)


def _cell(value: Any) -> Any:
    """A value that a spreadsheet shows as it is: on one line, and no formula."""
    if not isinstance(value, str):
        return value
    text = " ".join(value.splitlines())
    return f"'{text}" if text.startswith(_FORMULA) else text


def _row(values: Sequence[Any]) -> str:
    stream = io.StringIO()
    csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="").writerow(values)
    return stream.getvalue()
