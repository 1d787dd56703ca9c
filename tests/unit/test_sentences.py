from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maeum.sentences import split_sentences

written = st.text(st.sampled_from("가나 오늘\t.?!\n\r…,~\u2028ab1") | st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("오늘은 즐거웠다. 고마웠다.", ["오늘은 즐거웠다", "고마웠다"]),
        ("정말? 그래! 좋아", ["정말", "그래", "좋아"]),
        ("첫 줄\n둘째 줄\r\n셋째 줄", ["첫 줄", "둘째 줄", "셋째 줄"]),
        ("그랬다... 그래서?! 끝", ["그랬다", "그래서", "끝"]),
        ("3.5점을 받았다", ["3", "5점을 받았다"]),
        ("쉼표, 물결~ 말줄임표… 나누지 않는다", ["쉼표, 물결~ 말줄임표… 나누지 않는다"]),
        ("말. , 끝", ["말", ", 끝"]),
        ("", []),
        ("   \n\t ", []),
        ("...?!", []),
        ("… ~ , ♪", []),
    ],
)
def test_examples(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@given(written)
def test_sentences_are_stripped_and_hold_no_boundary(text: str) -> None:
    for sentence in split_sentences(text):
        assert sentence
        assert sentence == sentence.strip()
        assert not set(sentence) & set(".?!\r\n")


@given(written)
def test_nothing_but_boundaries_and_space_is_lost(text: str) -> None:
    sentences = split_sentences(text)
    if sentences:
        letters = [character for character in "".join(sentences) if character.isalnum()]
        assert letters == [character for character in text if character.isalnum()]
    else:
        assert not any(character.isalnum() for character in text)


@given(st.lists(st.text(st.sampled_from("가나다 ,"), min_size=1).filter(str.strip)), st.sampled_from(".?!\n"))
def test_joined_sentences_come_apart_again(sentences: list[str], boundary: str) -> None:
    spoken = [sentence.strip() for sentence in sentences]
    if any(character.isalnum() for sentence in spoken for character in sentence):
        assert split_sentences(boundary.join(sentences)) == spoken
    else:
        assert split_sentences(boundary.join(sentences)) == []
