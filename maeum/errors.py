"""Every error that maeum raises on purpose: one tree, each with its code and HTTP status.

MaeumError                   500  internal_error
├── NoFile                 400  no_file
├── MalformedForm          400  malformed_form
├── NotFound               404  not_found
├── MethodNotAllowed       405  method_not_allowed
├── UploadTimeout          408  upload_timeout
├── UploadTooLarge         413  upload_too_large
├── AudioTooLong           413  audio_too_long
├── EmptyAudio             422  empty_audio
├── UndecodableAudio       422  undecodable_audio
├── InvalidField           422  invalid_gender, invalid_lang, invalid_summary, invalid_voice_pooling, invalid_baseline;
│                               on the command line no_recordings, unreadable_folder, no_speech, unwritable_output
├── UnsupportedLanguage    422  unsupported_language
├── InvalidManifest        422  invalid_manifest, too_few_clips, unwritable_output: on the command line only
├── StageFailed            500  stage_failed, speech_failed, text_failed, voice_failed
├── StageOverloaded        503  overloaded
├── StageTimeout           504  timeout
└── StartError             500  start_error, at start only: the server or the call cannot begin
    ├── ModelMissing            model_missing
    ├── ModelInvalid            model_invalid
    ├── UnknownLabel            unknown_label
    └── InvalidConfiguration    invalid_configuration
"""

from __future__ import annotations

from typing import ClassVar


class MaeumError(Exception):
    """Base of all; `message` may be shown to a user: no key, transcript, stack trace, or path but the user's own."""

    code: str = "internal_error"
    status: ClassVar[int] = 500

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        if code is not None:
            self.code = code


class NoFile(MaeumError):
    """The form has no audio file in the field `file`."""

    code = "no_file"
    status = 400


class MalformedForm(MaeumError):
    """The body is no valid multipart form, broke off, or has more files, fields or text in a field than are read."""

    code = "malformed_form"
    status = 400


class NotFound(MaeumError):
    """There is no such route."""

    code = "not_found"
    status = 404


class MethodNotAllowed(MaeumError):
    """The route exists, but not with this method."""

    code = "method_not_allowed"
    status = 405


class UploadTimeout(MaeumError):
    """The upload stopped on its way."""

    code = "upload_timeout"
    status = 408


class UploadTooLarge(MaeumError):
    """The upload has more bytes than `MAEUM_MAX_UPLOAD_BYTES`."""

    code = "upload_too_large"
    status = 413


class AudioTooLong(MaeumError):
    """The recording lasts longer than `MAEUM_MAX_DURATION_S`."""

    code = "audio_too_long"
    status = 413


class EmptyAudio(MaeumError):
    """The file has no bytes, or decodes to no samples."""

    code = "empty_audio"
    status = 422


class UndecodableAudio(MaeumError):
    """The bytes are no audio that can be decoded."""

    code = "undecodable_audio"
    status = 422


class InvalidField(MaeumError):
    """A form field holds a value that the contract does not know; the code names the field."""

    code = "invalid_field"
    status = 422


class UnsupportedLanguage(MaeumError):
    """The speech model does not know the language asked for."""

    code = "unsupported_language"
    status = 422


class InvalidManifest(MaeumError):
    """The list of clips to evaluate is not usable; the message names the line."""

    code = "invalid_manifest"
    status = 422


class StageFailed(MaeumError):
    """A model stage failed on this item."""

    code = "stage_failed"
    status = 500


class StageOverloaded(MaeumError):
    """There is more work than can be done in time, or more uploads than there is memory for; try again later."""

    code = "overloaded"
    status = 503


class StageTimeout(MaeumError):
    """A model stage did not answer in time, or the whole request lasted longer than `MAEUM_REQUEST_TIMEOUT_S`."""

    code = "timeout"
    status = 504


class StartError(MaeumError):
    """The configuration or a model does not allow a start; the message says what to do."""

    code = "start_error"


class ModelMissing(StartError):
    """A model's files are not where they should be."""

    code = "model_missing"


class ModelInvalid(StartError):
    """A model's files are there but not usable: truncated, changed or not fitting."""

    code = "model_invalid"


class UnknownLabel(StartError):
    """A model has a label that the projection does not know."""

    code = "unknown_label"


class InvalidConfiguration(StartError):
    """A setting or a file that a setting names is not valid."""

    code = "invalid_configuration"
