"""Which languages a speech model transcribes, read without loading it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from maeum.errors import InvalidField, ModelInvalid
from maeum.labels import read_json, read_json_object

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MULTILINGUAL_VOCABULARY = 51_865


def parse_language(text: str) -> str:
    """The language of a code such as `ko` or `ko-KR`, in any case; empty text is `ko`.

    Raises:
        InvalidField: it is no language code (code `invalid_lang`).
    """
    code = re.fullmatch(r"([a-z]{1,3})([-_][a-z0-9]+)*", text.strip().lower() or "ko")
    if code is None:
        raise InvalidField("lang must be a language code such as ko", code="invalid_lang")
    return code[1]


def supported_languages(folder: Path) -> frozenset[str]:
    """Language codes of a model in faster-whisper's layout.

    `languages` in its `config.json` names them where a model knows fewer than Whisper does; else they are the language
    tokens that `lang_ids` points to in the tokenizer. A model without `lang_ids`, or with a smaller vocabulary than the
    multilingual ones, is English-only.

    Raises:
        ModelInvalid: a file is no JSON object, `languages` is no list of codes, or `lang_ids` name no tokens.
    """
    config = read_json_object(folder / "config.json")
    languages = config.get("languages")
    if languages is not None:
        if not isinstance(languages, list) or not all(isinstance(code, str) for code in languages) or not languages:
            raise ModelInvalid("languages in config.json of the speech model must be a list of language codes")
        return frozenset(languages)
    lang_ids = config.get("lang_ids")
    # English-only models carry the language tokens of the others, but CTranslate2 goes by the vocabulary's size.
    if not lang_ids or _vocabulary_size(folder) < _MULTILINGUAL_VOCABULARY:
        return frozenset({"en"})
    added = read_json_object(folder / "tokenizer.json").get("added_tokens", [])
    try:
        found = frozenset(token["content"].strip("<|>") for token in added if token["id"] in set(lang_ids))
    except (TypeError, KeyError, AttributeError):
        found = frozenset()
    if not found:
        raise ModelInvalid("lang_ids in config.json of the speech model name no tokens of its tokenizer.json")
    return found


def check_languages(languages: frozenset[str], tokenizer: Tokenizer) -> None:
    """Refuse a multilingual model that names languages without a token: nobody could ask it for them.

    Raises:
        ModelInvalid: `languages` in its `config.json` has such a code.
    """
    strangers = sorted(code for code in languages if tokenizer.token_to_id(f"<|{code}|>") is None)
    if strangers:
        raise ModelInvalid(
            f"the speech model's config.json names languages that its tokenizer.json has no token for: {strangers}"
        )


def _vocabulary_size(folder: Path) -> int:
    path = folder / "vocabulary.json"
    if path.is_file():
        vocabulary = read_json(path)
        return len(vocabulary) if isinstance(vocabulary, list) else 0
    path = folder / "vocabulary.txt"
    return path.read_bytes().rstrip(b"\n").count(b"\n") + 1 if path.is_file() else _MULTILINGUAL_VOCABULARY
