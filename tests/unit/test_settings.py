from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from maeum.errors import InvalidConfiguration
from maeum.settings import PRODUCTION_MODELS, PROJECT_DIR, ModelKind, Settings, get_settings, unknown_variables

SECRET = "sk-do-not-print-7f3a"
KINDS: tuple[ModelKind, ...] = ("speech", "text", "voice")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.upper().startswith(("MAEUM_", "OPENAI_", "HF_")):
            monkeypatch.delenv(name)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


def test_without_any_variable_the_defaults_hold() -> None:
    settings = get_settings()
    assert (settings.profile, settings.device, settings.summary) == ("embedded", "auto", "auto")
    assert (settings.text_weight, settings.voice_weight, settings.projection_file) == (0.7, 0.3, None)
    assert settings.max_upload_bytes == 25 * 1024 * 1024
    assert settings.max_duration_s == 600
    assert (settings.summary_model, settings.summary_timeout_s) == ("gpt-4o-mini", 10)
    assert (settings.openai_api_key, settings.openai_base_url, settings.hf_token, settings.hf_endpoint) == (None,) * 4
    assert settings.models_dir == PROJECT_DIR / "models" / "hub"


def test_the_environment_is_read_once() -> None:
    assert get_settings() is get_settings()


def test_variables_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "MAEUM_PROFILE": "production",
        "MAEUM_TEXT_WEIGHT": "0.25",
        "MAEUM_MAX_UPLOAD_BYTES": "2048",
        "MAEUM_PROJECTION_FILE": "/srv/projection.json",
        "MAEUM_SUMMARY": "off",
        "MAEUM_UNKNOWN": "is ignored",
        "OPENAI_API_KEY": SECRET,
        "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
        "HF_ENDPOINT": "http://127.0.0.1:2",
        "HF_TOKEN": "hf-" + SECRET,
    }.items():
        monkeypatch.setenv(name, value)
    settings = get_settings()
    assert (settings.profile, settings.text_weight, settings.max_upload_bytes) == ("production", 0.25, 2048)
    assert settings.projection_file == Path("/srv/projection.json")
    assert settings.openai_api_key is not None
    assert settings.openai_api_key.get_secret_value() == SECRET
    assert (settings.openai_base_url, settings.hf_endpoint) == ("http://127.0.0.1:1/v1", "http://127.0.0.1:2")
    assert SECRET not in repr(settings) + str(settings)
    assert SECRET not in settings.model_dump_json()


def test_settings_are_frozen() -> None:
    with pytest.raises(ValidationError):
        Settings().text_weight = 1.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("MAEUM_PROFILE", ("embedded", "production"), ("Embedded", "large", "auto")),
        ("MAEUM_DEVICE", ("auto", "cpu", "cuda"), ("gpu", "cuda:0")),
        ("MAEUM_SUMMARY", ("auto", "off"), ("on", "OFF", "false")),
        ("MAEUM_SPEECH_THREADS", ("0", "1", "256"), ("-1", "257", "two", "1.5")),
        ("MAEUM_TEXT_THREADS", ("0", "256"), ("-1", "257")),
        ("MAEUM_TEXT_WEIGHT", ("0", "1", "0.5", "1e-3"), ("-0.1", "1.01", "nan", "inf", "half", "0,7")),
        ("MAEUM_VOICE_WEIGHT", ("0", "1"), ("-1", "2", "nan")),
        ("MAEUM_MAX_UPLOAD_BYTES", ("1024", "1073741824"), ("0", "-1", "1023", "25MB", "1e6x")),
        ("MAEUM_MAX_DURATION_S", ("0.5", "86400"), ("0", "-1", "86401", "nan", "ten")),
        ("MAEUM_REQUEST_TIMEOUT_S", ("1", "86400"), ("0", "86401", "inf")),
        ("MAEUM_SUMMARY_TIMEOUT_S", ("0.1", "600"), ("0", "601", "nan")),
    ],
)
def test_bounds(monkeypatch: pytest.MonkeyPatch, name: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    for value in good:
        monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        get_settings()
    for value in bad:
        monkeypatch.setenv(name, value)
        get_settings.cache_clear()
        with pytest.raises(InvalidConfiguration) as caught:
            get_settings()
        assert name in caught.value.message
        assert caught.value.code == "invalid_configuration"
        assert SECRET not in str(caught.value)
        assert caught.value.__cause__ is None


def test_all_wrong_variables_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAEUM_DEVICE", "gpu")
    monkeypatch.setenv("MAEUM_TEXT_WEIGHT", "2")
    with pytest.raises(InvalidConfiguration, match=r"MAEUM_DEVICE.*MAEUM_TEXT_WEIGHT"):
        get_settings()


def test_both_weights_may_not_be_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAEUM_TEXT_WEIGHT", "0")
    get_settings()
    monkeypatch.setenv("MAEUM_VOICE_WEIGHT", "0")
    get_settings.cache_clear()
    with pytest.raises(InvalidConfiguration, match="MAEUM_TEXT_WEIGHT and MAEUM_VOICE_WEIGHT must not both be 0"):
        get_settings()


@pytest.mark.parametrize("name", sorted(f"MAEUM_{field.upper()}" for field in Settings.model_fields))
def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    # Compose files and CI systems pass optional variables on as empty strings.
    default = Settings()
    monkeypatch.setenv(name, "")
    assert get_settings() == default


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "OPENAI_BASE_URL", "HF_ENDPOINT", "HF_TOKEN"])
def test_an_empty_well_known_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "")
    assert getattr(get_settings(), name.lower()) is None


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "HF_TOKEN"])
@pytest.mark.parametrize("value", ["“sk-123”", "sk-1 23", "키", "sk-\n123"])
def test_a_key_that_no_header_can_carry_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfiguration, match=f"{name}: .*printable ASCII") as caught:
        get_settings()
    assert value not in caught.value.message
    monkeypatch.setenv(name, " sk-123\n")  # as `$(cat key.txt)` or a mounted file has it
    settings = get_settings()
    key = getattr(settings, name.lower())
    assert key.get_secret_value() == "sk-123"


@given(st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), min_size=1, max_size=20))
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_any_value_is_accepted_or_refused_by_name(value: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAEUM_SPEECH_THREADS", value)
        get_settings.cache_clear()
        try:
            get_settings()
        except InvalidConfiguration as error:
            assert "MAEUM_SPEECH_THREADS" in error.message  # noqa: PT017


@pytest.mark.parametrize("kind", KINDS)
def test_the_profile_names_the_models_that_nobody_named(kind: ModelKind) -> None:
    assert Settings().model_reference(kind) == "embedded"
    assert Settings(profile="production").model_reference(kind) == PRODUCTION_MODELS[kind]


def test_a_named_model_wins_over_the_profile() -> None:
    settings = Settings(profile="production", text_model="/models/mine")
    assert [settings.model_reference(kind) for kind in KINDS] == [
        PRODUCTION_MODELS["speech"],
        "/models/mine",
        PRODUCTION_MODELS["voice"],
    ]


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_every_setting_is_described(name: str) -> None:
    assert Settings.model_fields[name].description


def test_variables_that_nobody_reads_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "MAEUM_TEXT_WIEGHT", "MAEUM_XYZ", "MAEUM_PROFILE", "MAEUM_Device", "OPENAI_ORG",
        "MAEUM_SERVICE_HOST", "MAEUM_SERVICE_PORT_HTTP", "MAEUM_PORT", "MAEUM_PORT_3000_TCP_ADDR",
    ):  # fmt: skip
        monkeypatch.setenv(name, "production")
    assert unknown_variables() == {"MAEUM_TEXT_WIEGHT": "MAEUM_TEXT_WEIGHT", "MAEUM_XYZ": ""}
