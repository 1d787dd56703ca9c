"""The only reader of the environment. Built once at start and passed down."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from maeum.errors import InvalidConfiguration
from maeum.room import DEFAULT_SOUND_BYTES

PROJECT_DIR = Path(__file__).resolve().parent.parent

ModelKind = Literal["speech", "text", "voice"]
TextPrecision = Literal["fp32", "bf16", "int8"]
SpeechWindow = Literal["padded", "audio"]

PRODUCTION_MODELS: dict[ModelKind, str] = {
    "speech": "hub:Systran/faster-whisper-large-v3",
    "text": "hub:HyukII/text-emotion-model",
    "voice": "hub:HyukII/audio-emotion-model",
}

_ALMOST = 0.8
_OF_KUBERNETES = re.compile(r"MAEUM_(SERVICE_(HOST|PORT\w*)|PORT(_\d+_\w+)?)")
_KEY = re.compile("[!-~]*")
_NO_SECRET = re.compile("PATH|HOME|LANG|LC_.*|TZ|TMPDIR|LD_LIBRARY_PATH|PYTHON.*|SYSTEMROOT")


class Settings(BaseSettings):
    """All settings. Each is read from `MAEUM_<NAME>`, except those that keep their own well-known names.

    A variable that is set but empty, as compose files pass optional ones on, counts as not set.
    """

    model_config = SettingsConfigDict(
        env_prefix="MAEUM_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    profile: Literal["embedded", "production"] = Field(
        "embedded",
        description="Models to use where none is named: the small ones in the repository, or the production ones.",
    )
    speech_model: str = Field(
        "", description="Speech model: `embedded`, a folder, or `hub:owner/name@revision`. Empty: the profile's."
    )
    text_model: str = Field("", description="Text emotion model, named the same way.")
    voice_model: str = Field("", description="Voice emotion model, named the same way.")
    models_dir: Path = Field(PROJECT_DIR / "models" / "hub", description="Where fetched models and their lock live.")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="Device of all three models.")
    speech_threads: int = Field(0, ge=0, le=256, description="CPU threads of the speech model; 0: all cores.")
    speech_workers: int = Field(
        0,
        ge=0,
        le=256,
        description="Batches of windows that the speech model decodes side by side on a CPU, each on its share of the "
        "threads; 0: one for each thread; of a model of over 150 MB one for each four threads, but two at least under "
        "600 MB.",
    )
    speech_window: SpeechWindow = Field(
        "padded",
        description="What the speech model hears of a recording under 30 s: `padded`, 30 s, as Whisper was trained; or "
        "`audio`, little more than the recording, which takes a fraction of the time and changes some words; see "
        "“Short windows”.",
    )
    text_precision: TextPrecision = Field(
        "fp32",
        description="Arithmetic of the text model: `fp32`; faster and less exact, `int8` (CPU, RoBERTa) or `bf16` "
        "(GPU, or a CPU that has it).",
    )
    text_threads: int = Field(0, ge=0, le=256, description="CPU threads of the text model; 0: all cores.")

    text_weight: float = Field(0.7, ge=0, le=1, description="Weight of the words in the fusion.")
    voice_weight: float = Field(
        0.3,
        ge=0,
        le=1,
        description="Weight of the voice. What passes 1 is cut, as in the original: the two should sum to 1 at most.",
    )
    text_pooling: Literal["votes", "mean"] = Field(
        "votes",
        description="How sentences become one text vector: `votes`, one for each, as in the original; or `mean`, of "
        "their probabilities, which is right more often; see “Votes or means”. A calibration takes the mean.",
    )
    projection_file: Path | None = Field(
        None, description="JSON file with other label names and projection matrices; see “Other labels”."
    )
    voice_pooling: Literal["first", "windows"] = Field(
        "first", description="What the voice is read from: the first 3.2 s, or all windows of 3.2 s that hold speech."
    )
    calibration: Path | None = Field(
        None, description="JSON file that `maeum calibrate` wrote; it takes the place of the weights."
    )

    max_upload_bytes: int = Field(
        25 * 1024 * 1024, ge=1024, description="Largest accepted audio file, in bytes, counted while streaming."
    )
    max_duration_s: float = Field(600.0, gt=0, le=86_400, description="Longest accepted recording, in seconds.")
    speech_batch: int = Field(
        16, ge=1, le=1024, description="Windows of 30 s, over all waiting requests, that the speech model gets at once."
    )
    text_batch: int = Field(256, ge=1, le=65_536, description="Sentences that the text model gets at once.")
    voice_batch: int = Field(64, ge=1, le=65_536, description="Windows of 3.2 s that the voice model gets at once.")
    max_latency_ms: int = Field(
        0,
        ge=0,
        le=86_400_000,
        description="How long a request may wait for its turn with a model, in milliseconds, before it gets 503; "
        "0: as long as the request lasts.",
    )
    max_in_flight: int = Field(
        256, ge=1, le=65_536, description="Requests worked on at once; one more gets 503 with `Retry-After`."
    )
    max_uploads_bytes: int = Field(
        1024 * 1024 * 1024,
        ge=1024,
        description="Uploads of all requests together, in bytes, until they are decoded; what goes beyond it gets 503 "
        "with `Retry-After`. One has always room.",
    )
    max_sound_bytes: int = Field(
        DEFAULT_SOUND_BYTES,
        ge=1024,
        description="Decoded sound of all requests together, in bytes (64,000 a second); others wait as uploads.",
    )
    request_timeout_s: float = Field(
        600.0, ge=1, le=86_400, description="Deadline of one request, in seconds, its upload included."
    )

    summary: Literal["auto", "off"] = Field("auto", description="`auto`: summarise when a key is set; `off`: never.")
    summary_model: str = Field("gpt-4o-mini", min_length=1, description="Chat model that writes the summary.")
    summary_timeout_s: float = Field(10.0, gt=0, le=600, description="Deadline of the summary, retries included.")
    openai_api_key: SecretStr | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_API_KEY"),
        description="Key of the chat API. Without it no summary is written.",
    )
    openai_base_url: str | None = Field(
        None,
        validation_alias=AliasChoices("OPENAI_BASE_URL"),
        description="Another server that speaks Chat Completions.",
    )
    hf_endpoint: str | None = Field(
        None, validation_alias=AliasChoices("HF_ENDPOINT"), description="Another server that speaks the hub's protocol."
    )
    hf_token: SecretStr | None = Field(
        None, validation_alias=AliasChoices("HF_TOKEN"), description="Token for private hub repositories."
    )

    @field_validator("openai_api_key", "hf_token")
    @classmethod
    def _check_key(cls, value: SecretStr | None) -> SecretStr | None:
        key = value.get_secret_value().strip() if value else ""
        if not _KEY.fullmatch(key):
            raise ValueError("must be printable ASCII without spaces, as a header can carry it")
        return SecretStr(key) if key else None

    @model_validator(mode="after")
    def _check_weights(self) -> Settings:
        if self.text_weight + self.voice_weight <= 0:
            raise ValueError("MAEUM_TEXT_WEIGHT and MAEUM_VOICE_WEIGHT must not both be 0")
        return self

    def model_reference(self, kind: ModelKind) -> str:
        """Return the model reference of `kind`, with the profile's filled in where none is set."""
        named = {"speech": self.speech_model, "text": self.text_model, "voice": self.voice_model}[kind]
        return named or ("embedded" if self.profile == "embedded" else PRODUCTION_MODELS[kind])


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once per process.

    Raises:
        InvalidConfiguration: a variable has no valid value; the message names it.
    """
    try:
        return Settings()
    except ValidationError as error:
        raise InvalidConfiguration(describe_validation_error(error)) from None


def unknown_variables() -> dict[str, str]:
    """Variables called `MAEUM_…` that nobody reads, each with the setting that it may stand for, or with nothing.

    Kubernetes makes some for every service: those of one called `maeum` are left out.
    """
    fields = Settings.model_fields.items()
    known = [f"MAEUM_{name.upper()}" for name, field in fields if field.validation_alias is None]
    strangers = sorted(name for name in os.environ if name.startswith("MAEUM_") and name.upper() not in known)
    strangers = [name for name in strangers if not _OF_KUBERNETES.fullmatch(name)]
    return {name: "".join(get_close_matches(name, known, 1, _ALMOST)) for name in strangers}


def environment_without_secrets() -> dict[str, str]:
    """This process's environment for one that needs no keys: only what a Python process needs to start.

    Names do not tell what is secret: a URL may hold a password.
    """
    return {name: value for name, value in os.environ.items() if _NO_SECRET.fullmatch(name)}


def describe_validation_error(error: ValidationError) -> str:
    """Say in one line which variable is wrong and why, without repeating secret values."""
    parts = []
    for detail in error.errors(include_input=False, include_url=False, include_context=False):
        name = "_".join(str(part) for part in detail["loc"])
        variable = name if name.startswith(("OPENAI_", "HF_")) else f"MAEUM_{name.upper()}"
        parts.append(f"{variable}: {detail['msg']}" if name else detail["msg"])
    return "invalid configuration: " + "; ".join(parts)
