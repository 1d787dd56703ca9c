"""A multipart request becomes the bytes and fields of one analysis; nothing in it is trusted."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from maeum.errors import InvalidField, MalformedForm, NoFile, UploadTimeout, UploadTooLarge

_MAX_BASELINE_BYTES = 16 * 1024
_MAX_FILES = 4
_MAX_TEXT_FIELDS = 16
_MAX_TEXT_FIELD_BYTES = 1024 * 1024
# Room for boundaries, headers and the small fields around the file.
_ENVELOPE_BYTES = 64 * 1024
# Longer than a phone takes from one cell to the next, and slower than any. A half-sent upload holds a place that others
# wait for: it must not be cheap to keep.
_IDLE_TIMEOUT_S = 30.0
_IDLE_BYTES = 64 * 1024
_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


@dataclass(frozen=True, slots=True)
class AnalyzeForm:
    """One request's form. All but `summary` is as sent; the pipeline checks it. Empty text: not given."""

    data: bytes
    gender: str = "MALE"
    lang: str = "ko"
    summary: bool = True
    voice_pooling: str = ""
    baseline: str = ""

    def options(self) -> dict[str, Any]:
        """All but the audio, by name."""
        return {item.name: getattr(self, item.name) for item in fields(self) if item.name != "data"}


class _Parser(MultiPartParser):
    """Notices a form that was cut off, which would look like one without a file, and says which limit is passed."""

    complete = False

    @property
    def _charset(self) -> str:
        return "utf-8"

    @_charset.setter
    def _charset(self, named: str) -> None:
        """Not the client's choice: some of Python's codecs take time that grows with the square of the length."""

    def on_headers_finished(self) -> None:
        super().on_headers_finished()
        if self._current_files > _MAX_FILES:
            raise MalformedForm(f"the form has more than {_MAX_FILES} files")
        if self._current_fields > _MAX_TEXT_FIELDS:
            raise MalformedForm(f"the form has more than {_MAX_TEXT_FIELDS} text fields")

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        part = self._current_part
        if part.file is None and len(part.data) + end - start > _MAX_TEXT_FIELD_BYTES:
            raise MalformedForm(f"a text field is larger than {_MAX_TEXT_FIELD_BYTES} bytes")
        super().on_part_data(data, start, end)

    def on_end(self) -> None:
        self.complete = True

    def close(self) -> None:
        """Close every file, those too that were cut off and are in no form."""
        for file in self._files_to_close_on_error:
            file.close()


def largest_upload(max_upload_bytes: int) -> int:
    """Bytes in the largest request that is read, whose file has `max_upload_bytes`."""
    return max_upload_bytes + _ENVELOPE_BYTES


async def read_form(
    request: Request, max_upload_bytes: int, take: Callable[[int], None] = lambda n: None, *, contract: bool = False
) -> AnalyzeForm:
    """Read `file` and the optional fields of `AnalyzeForm`, counting bytes while they arrive.

    Args:
        request: a POST whose body was not read yet.
        max_upload_bytes: largest accepted file in bytes.
        take: told how many bytes have arrived each time some do; what it raises ends the reading.
        contract: read the fields that the original's route knows, and no others.

    Raises:
        NoFile: no multipart form, or no file in its field `file`.
        UploadTooLarge: more bytes than allowed, announced or sent.
        UploadTimeout: 30 s went by without 64 KB, or the end.
        MalformedForm: the body is no valid multipart form, breaks off, or has more than 4 files, 16 text fields or 1 MB
            in one of these.
        InvalidField: `summary` is no truth value, or a text field other than `baseline` came as a file.
    """
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise NoFile("send the audio as multipart/form-data in the field 'file'")
    limit = largest_upload(max_upload_bytes)
    announced = request.headers.get("content-length", "")
    # int() refuses thousands of digits; no length has more than 18.
    if announced.isdecimal() and (len(announced) > 18 or int(announced) > limit):
        raise _too_large(max_upload_bytes)
    try:
        async with asyncio.timeout(_IDLE_TIMEOUT_S) as idle:
            body = _counted(request, limit, max_upload_bytes, take, idle)
            parser = _Parser(request.headers, body)
            parser.spool_max_size = limit  # audio stays in memory: transcripts and voices are private
            form = await parser.parse()
    except TimeoutError as error:
        raise UploadTimeout(
            f"the upload stopped: less than {_IDLE_BYTES // 1024} KB of it arrived in {_IDLE_TIMEOUT_S:.0f} s"
        ) from error
    except (MultiPartException, UnicodeError, KeyError) as error:
        raise MalformedForm("the body is no valid multipart form") from error
    except ClientDisconnect as error:
        raise MalformedForm("the upload broke off") from error
    try:
        if not parser.complete:
            raise MalformedForm("the multipart form has no end")
        return await _to_form(form, max_upload_bytes, contract)
    finally:
        parser.close()


async def _to_form(form: FormData, max_upload_bytes: int, contract: bool) -> AnalyzeForm:
    upload = form.get("file")
    if not isinstance(upload, UploadFile) or not (upload.filename or upload.size):
        raise NoFile("the form has no file in the field 'file'")
    if (upload.size or 0) > max_upload_bytes:
        raise _too_large(max_upload_bytes)
    known = AnalyzeForm(await upload.read(), _text(form, "gender", "MALE"), _text(form, "lang", "ko"))
    if contract:
        return known
    summary = _text(form, "summary", "true").lower()
    if summary not in _BOOLEANS:
        raise InvalidField("summary must be true or false", code="invalid_summary")
    return replace(
        known,
        summary=_BOOLEANS[summary],
        voice_pooling=_text(form, "voice_pooling", ""),
        baseline=await _baseline(form),
    )


async def _baseline(form: FormData) -> str:
    """The field `baseline`, as text or as the file that `maeum baseline` wrote."""
    value = form.get("baseline", "")
    if not isinstance(value, UploadFile):
        return _unquoted(value)
    if (value.size or 0) > _MAX_BASELINE_BYTES:
        raise InvalidField("baseline is too large", code="invalid_baseline")
    # What is no UTF-8 is no JSON either, and the pipeline says so; an empty file does not count as not given.
    return (await value.read()).decode(errors="replace").strip() or "empty"


def _unquoted(text: str) -> str:
    """Undo what BentoML's own client does to text fields: it sends them as JSON strings."""
    try:
        value = json.loads(text) if text.startswith('"') else text
    except (ValueError, RecursionError):  # then it is no JSON, and the pipeline says so
        return text
    return value if isinstance(value, str) else text


def _text(form: FormData, name: str, default: str) -> str:
    value = form.get(name, default)
    if not isinstance(value, str):
        raise InvalidField(f"{name} must be text, not a file", code=f"invalid_{name}")
    return _unquoted(value.strip()).strip() or default


async def _counted(
    request: Request, limit: int, max_upload_bytes: int, take: Callable[[int], None], idle: asyncio.Timeout
) -> AsyncGenerator[bytes, None]:
    loop = asyncio.get_running_loop()
    received = seen = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise _too_large(max_upload_bytes)
        if received - seen >= _IDLE_BYTES:
            idle.reschedule(loop.time() + _IDLE_TIMEOUT_S)
            seen = received
        take(len(chunk))
        yield chunk


def _too_large(max_upload_bytes: int) -> UploadTooLarge:
    return UploadTooLarge(f"the upload is larger than {max_upload_bytes} bytes")
