"""A server that speaks OpenAI's Chat Completions.

Imports the SDK, which is heavy: import this module only where such a server will be called.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import httpx2
import openai
import openai.resources.chat.completions  # the SDK would load it during the first call
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from maeum.errors import InvalidConfiguration

OPENAI_BASE_URL = "https://api.openai.com/v1"
MAX_RETRIES = 2
# A chat answer is a few KB; a wrong URL can lead to anything.
MAX_BODY_BYTES = 1024 * 1024

FailureCode = Literal[
    "unauthorized",
    "rate_limited",
    "server_error",
    "timeout",
    "unreachable",
    "redirected",
    "rejected",
    "invalid_answer",
    "unexpected",
]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ChatAnswer:
    """What the model answers, less its thoughts; or nothing, and the code that says why.

    Attributes:
        text: its words.
        failure: why there are none.
    """

    text: str
    failure: FailureCode | None = None


class ChatServer:
    """One chat server and the key to it.

    Each call has its own client, since a client belongs to one event loop. With the TLS context shared that
    costs 0.2 ms; building the context, 30 ms and more, happens once.
    """

    def __init__(self, key: SecretStr, base_url: str | None) -> None:
        """Check the URL and load the certificates; connects to nothing.

        Args:
            key: sent as bearer token.
            base_url: where `chat/completions` lies; None or empty for OpenAI's own.

        Raises:
            InvalidConfiguration: the URL is no HTTP URL.
        """
        try:
            url = httpx2.URL((base_url or "").strip() or OPENAI_BASE_URL)
        except httpx2.InvalidURL:
            url = httpx2.URL("")
        if url.scheme not in ("http", "https") or not url.host:
            raise InvalidConfiguration("OPENAI_BASE_URL: must be a URL that begins with http:// or https://")
        self._key = key
        # The HTTP client logs each URL, so a user and password in it travel apart (and instead of the key,
        # as that client would have it).
        self._auth = (url.username, url.password) if url.userinfo else None
        self._url = url.copy_with(userinfo=b"")
        self._tls = httpx2.create_ssl_context()
        self.first_party = url.host.endswith((".openai.com", ".openai.azure.com"))

    async def complete(self, body: Mapping[str, Any], timeout_s: float) -> ChatAnswer:
        """Send a chat request; never raises.

        Args:
            body: the request, as the protocol has it.
            timeout_s: deadline in seconds, retries and the waits between them included.
        """
        loop = asyncio.get_running_loop()
        attempts = _Attempts(deadline=loop.time() + timeout_s)
        try:
            async with asyncio.timeout_at(attempts.deadline), self._client(attempts) as client:
                response = await client.chat.completions.with_raw_response.create(**body)
                return _answer(response.content)
        except Exception as error:
            return ChatAnswer("", _failure(error, attempts.last_status))

    def _client(self, attempts: _Attempts) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key=self._key.get_secret_value(),
            base_url=self._url,
            max_retries=MAX_RETRIES,
            timeout=None,  # the deadline is over all
            http_client=openai.DefaultAsyncHttpxClient(
                verify=self._tls,
                auth=self._auth,
                follow_redirects=False,  # a diary goes to the server that was named and to no other
                headers={"Accept-Encoding": "identity"},  # so that the bound counts what is unpacked
                event_hooks={"request": [attempts.before], "response": [attempts.after]},
            ),
        )


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True)
    content: str


class _Choice(BaseModel):
    model_config = ConfigDict(frozen=True)
    message: _Message
    finish_reason: str | None = None


class _Completion(BaseModel):
    """The part of a chat completion that is used; the SDK's own types accept any JSON."""

    model_config = ConfigDict(frozen=True)
    choices: tuple[_Choice, ...] = Field(min_length=1)


# Servers that do not take a model's thoughts apart send them before its answer, some without the first tag.
_THOUGHTS = r"think|thinking|thought|thoughts|reason|reasoning|reflection|analysis"
_END_OF_THOUGHTS = re.compile(rf"(?i)</(?:{_THOUGHTS})>|\[/THINK\]|◁/think▷|<\|channel\|>final<\|message\|>")
_THINKING = re.compile(rf"(?i)\s*(?:<(?:{_THOUGHTS})>|\[THINK\]|◁think▷|<\|)")
_ANSWER_TAG = re.compile(r"(?i)</?answer>|<\|[a-z_]*\|>")


def _answer(body: bytes) -> ChatAnswer:
    choice = _Completion.model_validate_json(body).choices[0]
    *_, text = _END_OF_THOUGHTS.split(choice.message.content)
    # It had no room, the server's filter cut it off, or it never came to its answer.
    if choice.finish_reason in ("length", "content_filter") or _THINKING.match(text):
        return ChatAnswer("", "invalid_answer")
    return ChatAnswer(_ANSWER_TAG.sub("", text))


class _Attempts:
    """Watches the tries of one call, through the HTTP client's hooks.

    `last_status` is the status of the try under way or of the last one; None while it has no answer.
    """

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.last_status: int | None = None

    async def before(self, _request: httpx2.Request) -> None:
        self.last_status = None

    async def after(self, response: httpx2.Response) -> None:
        self.last_status = response.status_code
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream)
        if _retry_after_s(response.headers) > self.deadline - asyncio.get_running_loop().time():
            response.headers["x-should-retry"] = "false"  # the SDK would sleep past the deadline


class _BodyTooLarge(Exception):
    """The server sent more than `MAX_BODY_BYTES`."""


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, inner: httpx2.AsyncByteStream) -> None:
        self._inner = inner

    async def __aiter__(self) -> AsyncIterator[bytes]:
        n_bytes = 0
        async for chunk in self._inner:
            n_bytes += len(chunk)
            if n_bytes > MAX_BODY_BYTES:
                raise _BodyTooLarge
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()


def _retry_after_s(headers: Mapping[str, str]) -> float:
    for name, per_second in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            return float(headers[name]) / per_second
        except (KeyError, ValueError):
            continue
    return 0.0


def _failure(error: Exception, last_status: int | None) -> FailureCode:
    match error:
        case openai.APIStatusError():
            return _status_failure(error.status_code)
        case TimeoutError():
            return "timeout" if last_status is None else _status_failure(last_status)
        case openai.APITimeoutError():
            return "timeout"
        case openai.APIConnectionError():
            return "unreachable"
        case ValidationError() | _BodyTooLarge():
            return "invalid_answer"
        case _:
            # Its text may hold the key or the diary.
            _log.error("event=chat_unexpected error=%s", type(error).__name__)
            return "unexpected"


def _status_failure(status: int) -> FailureCode:
    if status in (401, 403):
        return "unauthorized"
    if status in (408, 504):
        return "timeout"
    if status == 429:
        return "rate_limited"
    if status >= 500:
        return "server_error"
    if status >= 400:
        return "rejected"
    return "redirected" if status >= 300 else "timeout"
