from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, models

from maeum.errors import InvalidField, ModelInvalid
from maeum.settings import PROJECT_DIR
from maeum.speech_languages import check_languages, parse_language, supported_languages

TOKENS = [
    {"id": 50258, "content": "<|startoftranscript|>", "special": True},
    {"id": 50259, "content": "<|en|>", "special": True},
    {"id": 50264, "content": "<|ko|>", "special": True},
    {"id": 50358, "content": "<|yue|>", "special": True},
]


def write(folder: Path, config: Any, tokenizer: Any = None) -> Path:
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (folder / "tokenizer.json").write_text(
        json.dumps({"added_tokens": TOKENS} if tokenizer is None else tokenizer), encoding="utf-8"
    )
    return folder


def test_the_models_own_list_wins(tmp_path: Path) -> None:
    folder = write(tmp_path, {"languages": ["ko"], "lang_ids": [50259, 50264]})
    assert supported_languages(folder) == {"ko"}


def test_a_multilingual_model_names_its_language_tokens(tmp_path: Path) -> None:
    folder = write(tmp_path, {"lang_ids": [50259, 50264, 50358]})
    assert supported_languages(folder) == {"en", "ko", "yue"}


@pytest.mark.parametrize("config", [{}, {"lang_ids": []}, {"lang_ids": None}])
def test_a_model_without_language_tokens_is_english_only(tmp_path: Path, config: dict[str, Any]) -> None:
    assert supported_languages(write(tmp_path, config)) == {"en"}


@pytest.mark.parametrize(("name", "line"), [("vocabulary.json", '["a"]'), ("vocabulary.txt", "a")])
def test_a_small_vocabulary_is_english_only_whatever_its_tokens(tmp_path: Path, name: str, line: str) -> None:
    folder = write(tmp_path, {"lang_ids": [50259, 50264]})
    (folder / name).write_text(line)

    assert supported_languages(folder) == {"en"}


@pytest.mark.parametrize("end", ["", "\n"])
@pytest.mark.parametrize(("n_tokens", "languages"), [(51_865, {"en", "ko"}), (51_864, {"en"})])
def test_a_full_vocabulary_is_multilingual(tmp_path: Path, n_tokens: int, end: str, languages: set[str]) -> None:
    folder = write(tmp_path, {"lang_ids": [50259, 50264]})
    (folder / "vocabulary.txt").write_text("\n".join(["token"] * n_tokens) + end)

    assert supported_languages(folder) == languages


def test_the_embedded_model_knows_korean_only() -> None:
    assert supported_languages(PROJECT_DIR / "models" / "embedded" / "speech") == {"ko"}


@pytest.mark.parametrize(
    "config",
    [
        {"languages": "ko"},
        {"languages": []},
        {"languages": ["ko", 1]},
        {"languages": {"ko": 1}},
        {"lang_ids": 3},
        {"lang_ids": "ko"},
        {"lang_ids": [[1]]},
        {"lang_ids": [1]},  # no token has this id
        [],
        "ko",
    ],
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, config: Any) -> None:
    with pytest.raises(ModelInvalid) as caught:
        supported_languages(write(tmp_path, config))
    assert str(tmp_path) not in caught.value.message


@pytest.mark.parametrize(
    "tokenizer",
    [
        [],
        {},
        {"added_tokens": None},
        {"added_tokens": {}},
        {"added_tokens": [None]},
        {"added_tokens": [{"id": 50264}]},
        {"added_tokens": [{"content": "<|ko|>"}]},
        {"added_tokens": [{"id": 50264, "content": 7}]},
    ],
)
def test_a_tokenizer_that_makes_no_sense_is_refused(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(ModelInvalid):
        supported_languages(write(tmp_path, {"lang_ids": [50264]}, tokenizer))


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_file_that_is_no_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        supported_languages(tmp_path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelInvalid, match=r"config\.json"):
        supported_languages(tmp_path)


def test_languages_that_the_tokenizer_lacks_are_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"<|en|>": 0, "<|ko|>": 1}, unk_token="<|en|>"))

    check_languages(frozenset({"ko", "en"}), tokenizer)
    with pytest.raises(ModelInvalid, match="no token for: \\['de', 'xx'\\]"):
        check_languages(frozenset({"xx", "ko", "de"}), tokenizer)


@pytest.mark.parametrize(
    ("text", "language"),
    [("ko", "ko"), (" KO ", "ko"), ("", "ko"), ("ko-KR", "ko"), ("zh_hant-TW", "zh"), ("yue", "yue")],
)
def test_a_language_is_read_from_its_code(text: str, language: str) -> None:
    assert parse_language(text) == language


@pytest.mark.parametrize("text", ["-", "-KR", "ko-", "ko-!", "한국어", "korean", "k0", "ko KR"])
def test_what_is_no_language_code_is_refused(text: str) -> None:
    with pytest.raises(InvalidField) as caught:
        parse_language(text)
    assert caught.value.code == "invalid_lang"
