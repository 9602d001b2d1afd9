"""One request to an OpenAI-compatible endpoint, and what its answer, or its failure, means."""

from __future__ import annotations

import asyncio
import email.utils
import json
import math
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

from curate.judge.endpoint import Endpoint
from curate.judge.prompt import Prompt

Mode = Literal["json_schema", "json_object", "text"]
FailureKind = Literal["rate_limited", "overloaded", "server_error", "unreachable", "timeout", "broken_off", "garbled"]
"""429; 503 or 529; other 5xx; no connection; no whole answer in time; connection lost; no chat completion."""

LARGEST_BODY = 1 << 20
"""Bytes of an answer that are read; what a judge has to say is a thousandth of it."""
LARGEST_PACKED_BODY = 1 << 16
"""The same for an answer that is compressed though it was asked not to be: unpacking multiplies it."""
CONNECT_SECONDS = 15.0
POOL_SIZE = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """What the endpoint answered with status 200."""

    content: str | None
    """The model's text; None when there was none."""
    finish: str | None
    """Why the model stopped, as the endpoint says: stop, length, content_filter, ..."""
    refusal: str | None
    tokens_in: int | None
    """As billed; None when the endpoint does not say."""
    tokens_out: int | None
    model: str | None
    """The model that answered, as the endpoint names it."""
    mode: Mode
    reasoning: str | None = None
    """What the model thought, where the endpoint tells it apart from the text (vLLM's ``--reasoning-parser``)."""
    logprobs: list[Any] | None = None
    """One entry a token of the text, as the endpoint gave them; None when it gave none."""


class CallFailedError(Exception):
    """The request failed in a way that may pass: it is worth trying again."""

    def __init__(self, kind: FailureKind, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.retry_after = retry_after
        """Seconds to wait, as the endpoint asked."""


class BadRequestError(Exception):
    """The endpoint will not take this request, however often it is sent."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AdaptedError(Exception):
    """The endpoint does not know something the request asked for; the client will not ask for it again."""


class HopelessError(Exception):
    """No request to this endpoint can succeed as things are; the message says why and what to do."""


class Client:
    """An endpoint, with what was found out about the features it has."""

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        concurrency: int,
        timeout: float,
        temperature: float,
        max_tokens: int,
        mode: Mode = "json_schema",
        top_logprobs: int = 0,
    ) -> None:
        """``mode`` is what replies are asked for in; ``top_logprobs`` how many likely tokens are told at each place."""
        import openai

        # The openai package brings httpx or its successor httpx2; what its client class derives from tells which.
        http = import_module(openai.DefaultAsyncHttpxClient.__mro__[1].__module__.partition(".")[0])
        self._openai = openai
        self._endpoint = endpoint
        self._timeout = timeout
        self._temperature: float | None = temperature
        self._max_tokens = max_tokens
        self._max_tokens_name = "max_tokens"
        self._top_logprobs = top_logprobs
        self.mode: Mode = mode
        self.adapted: list[str] = []
        """What the endpoint could not do, in words, in the order it was found out."""
        # Made once: reading the certificates takes longer than a request. Without TLS there is nothing to verify.
        self._tls: Any = http.create_ssl_context() if endpoint.url.startswith("https:") else False
        self._bound_body = _bound_body(http)
        # Several small connection pools: a pool looks through all its connections for each request and each answer.
        pools = [self._pool(http, min(POOL_SIZE, concurrency)) for _ in range(math.ceil(concurrency / POOL_SIZE))]
        self._pools = pools
        self._free = [pool for pool in pools for _ in range(POOL_SIZE)]
        """A pool for each request that may start; the one used last, whose connections are warm, comes first."""

    def _pool(self, http: Any, size: int) -> Any:
        openai, endpoint = self._openai, self._endpoint
        timeout = openai.Timeout(self._timeout, connect=CONNECT_SECONDS)
        return openai.AsyncOpenAI(
            base_url=endpoint.url,
            api_key=endpoint.key or "none",
            max_retries=0,
            timeout=timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=openai.DefaultAsyncHttpxClient(
                # A redirect would carry the key to another host.
                follow_redirects=False,
                limits=http.Limits(max_connections=size, max_keepalive_connections=size),
                timeout=timeout,
                event_hooks={"response": [self._bound_body]},
                # Proxies of the environment are not for this machine.
                trust_env=not endpoint.local,
                verify=self._tls,
            ),
        )

    async def close(self) -> None:
        """Close the connections."""
        for pool in self._pools:
            await pool.close()

    async def ask(self, prompt: Prompt, content: list[dict[str, Any]]) -> Answer:
        """Ask about one sample by a prompt; see :meth:`chat`."""
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": prompt.system},
            {"role": "user", "content": content},
        ]
        return await self.chat(messages, schema=prompt.schema)

    async def chat(
        self, messages: list[dict[str, Any]], *, schema: dict[str, Any] | None = None, **fields: Any
    ) -> Answer:
        """Send one request and wait for its answer. ``fields`` are added to the body as they are.

        Raises CallFailedError, BadRequestError, AdaptedError or HopelessError; their messages never hold the key.
        """
        mode, max_tokens_name, temperature = self.mode, self._max_tokens_name, self._temperature
        body: dict[str, Any] = {
            "model": self._endpoint.model,
            "messages": messages,
            max_tokens_name: self._max_tokens,
            **fields,
        }
        if temperature is not None:
            body["temperature"] = temperature
        if self._top_logprobs:
            body |= {"logprobs": True, "top_logprobs": self._top_logprobs}
        if mode == "json_schema":
            named = {"name": "verdict", "strict": True, "schema": schema}
            body["response_format"] = {"type": mode, "json_schema": named}
        elif mode == "json_object":
            body["response_format"] = {"type": mode}
        openai = self._openai
        pool = self._free.pop()
        try:
            async with asyncio.timeout(self._timeout):
                # Not chat.completions.create: it would spend more time on typing the messages than on sending them.
                text = await pool.post("/chat/completions", cast_to=str, body=body)
        except TimeoutError:
            raise CallFailedError("timeout", f"no whole answer within {self._timeout:g} s") from None
        except openai.APIStatusError as error:
            raise self._status_error(error, body) from None
        except (openai.APIConnectionError, _TooLargeError) as error:
            raise self._connection_error(error) from None
        except openai.OpenAIError as error:
            raise CallFailedError("garbled", self._clean(str(error))) from None
        finally:
            self._free.append(pool)
        return self._read(text, mode)

    def _read(self, text: str, mode: Mode) -> Answer:
        try:
            answer = json.loads(text)
        except (ValueError, RecursionError):
            shown = "HTML" if text.lstrip()[:1] == "<" else "something that is no JSON"
            raise CallFailedError("garbled", f"the endpoint answered {shown}") from None
        if not isinstance(answer, dict):
            raise CallFailedError("garbled", "the endpoint answered JSON that is no chat completion")
        if answer.get("error"):
            raise self._error_in_answer(answer["error"])
        choices = answer.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        message = choice.get("message") if isinstance(choice, dict) else None
        if not isinstance(choice, dict) or not isinstance(message, dict):
            raise CallFailedError("garbled", "the endpoint answered without a choice")
        usage = answer.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return Answer(
            content=self._text(message.get("content")),
            finish=self._text(choice.get("finish_reason")),
            refusal=self._text(message.get("refusal")),
            tokens_in=_count(usage.get("prompt_tokens")),
            tokens_out=_count(usage.get("completion_tokens")),
            model=self._text(answer.get("model")),
            mode=mode,
            reasoning=self._text(message.get("reasoning_content") or message.get("reasoning")),
            logprobs=_logprobs(choice),
        )

    def _text(self, value: object) -> str | None:
        """A text as it may be kept: valid Unicode, and without the images and the key that an endpoint sends back."""
        if not isinstance(value, str):
            return None
        text = value.encode(errors="replace").decode()
        if self._endpoint.key:
            text = text.replace(self._endpoint.key, "[key]")
        return re.sub(r"data:image/[\w.+-]+;base64,[A-Za-z0-9+/=]*", "[image]", text)

    def _error_in_answer(self, error: object) -> Exception:
        """Gateways report errors of the model behind them in an answer of status 200."""
        details = error if isinstance(error, dict) else {"message": error}
        message = self._clean(str(details.get("message") or "an error without a message"))
        code = details.get("code")
        if code == 429:
            return CallFailedError("rate_limited", message)
        if isinstance(code, int) and code in (400, 413, 422):
            return BadRequestError(code, message)
        return CallFailedError("server_error", f"the endpoint answered with an error: {message}")

    def _status_error(self, error: Any, body: dict[str, Any]) -> Exception:
        status: int = error.status_code
        message = self._clean(_message_of(error.body) or f"status {status} without a message")
        headers = error.response.headers
        host = self._endpoint.host
        hopeless = {
            401: (
                f"{host} does not accept the key in OPENAI_API_KEY (401): {message}"
                if self._endpoint.key
                else f"{host} asks for a key (401), and none is set: export OPENAI_API_KEY=..."
            ),
            402: f"{host} says the account has no credit left: {message}",
        }
        if 300 <= status < 400:
            target = self._clean(headers.get("location", "somewhere"))
            hopeless[status] = (
                f"{host} redirects to {target}; curate does not follow, since the key would go along: give the address "
                f"that you trust as {self._endpoint.option}"
            )
        if _code_of(error.body) == "insufficient_quota":
            hopeless[status] = hopeless[402]
        if status in hopeless:
            return HopelessError(hopeless[status])
        kinds: dict[int, FailureKind] = {429: "rate_limited", 503: "overloaded", 529: "overloaded"}
        transient = status in (408, 409, 425) or (status >= 500 and not self._names_feature(message))
        if status in kinds or transient:
            kind = kinds.get(status, "server_error")
            return CallFailedError(kind, f"status {status}: {message}", parse_retry_after(headers))
        return self._adapt(message, body) or BadRequestError(status, message)

    def _names_feature(self, message: str) -> bool:
        return self.mode != "text" and re.search(_STRUCTURED_OUTPUT, message, re.IGNORECASE) is not None

    def _adapt(self, message: str, body: dict[str, Any]) -> AdaptedError | None:
        """Do without what the endpoint does not have, if its message names such a thing.

        ``body`` is what was sent: requests under way when the first one failed must not take another step down.
        """
        asked = body.get("response_format", {}).get("type", "text")
        if asked != "text" and re.search(_STRUCTURED_OUTPUT, message, re.IGNORECASE):
            if asked == self.mode:
                self.mode = "json_object" if asked == "json_schema" else "text"
                self.adapted.append(f"no {asked} replies; asking for {self.mode}")
        elif "max_tokens" in body and "max_completion_tokens" in message:
            if self._max_tokens_name == "max_tokens":
                self._max_tokens_name = "max_completion_tokens"
                self.adapted.append("max_completion_tokens in place of max_tokens")
        elif "temperature" in body and "temperature" in message:
            if self._temperature is not None:
                self._temperature = None
                self.adapted.append("the model's own temperature")
        elif "logprobs" in body and "logprobs" in message:
            if self._top_logprobs:
                self._top_logprobs = 0
                self.adapted.append("no probabilities of tokens")
        else:
            return None
        return AdaptedError(message)

    def _connection_error(self, error: BaseException) -> Exception:
        causes = list(_causes(error))
        host = self._endpoint.host
        if any(isinstance(cause, _TooLargeError) for cause in causes):
            return CallFailedError("garbled", f"the endpoint sent more than {LARGEST_BODY >> 20} MB")
        for cause in causes:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return HopelessError(
                    f"the certificate of {host} does not fit: {self._clean(cause.verify_message)}; nothing was sent. "
                    f"Check the address; for a private authority, name its file in SSL_CERT_FILE"
                )
        unreachable = any(type(cause).__name__ in ("ConnectError", "ConnectTimeout") for cause in causes)
        if isinstance(error, self._openai.APITimeoutError) and not unreachable:
            return CallFailedError("timeout", f"no answer within {self._timeout:g} s")
        detail = next((str(cause) for cause in reversed(causes) if str(cause)), type(error).__name__)
        return CallFailedError("unreachable" if unreachable else "broken_off", f"{host}: {self._clean(detail)}")

    def _clean(self, message: str) -> str:
        """One line of bounded length, without control characters and without the key."""
        if self._endpoint.key:
            message = message.replace(self._endpoint.key, "[key]")
        message = " ".join("".join(c if c.isprintable() else " " for c in message[:2000]).split())
        return message if len(message) <= 300 else message[:299] + "…"


_STRUCTURED_OUTPUT = r"response_format|json_schema|json_object|structured|guided|grammar"


class _TooLargeError(Exception):
    pass


def _bound_body(http: Any) -> Any:
    """A response hook that stops reading a body that is too large, whatever its status."""

    class Bounded(http.AsyncByteStream):  # type: ignore[misc]  # the class is only known at run time
        def __init__(self, stream: Any, limit: int) -> None:
            self._stream = stream
            self._left = limit

        async def __aiter__(self) -> AsyncIterator[bytes]:
            async for chunk in self._stream:
                self._left -= len(chunk)
                if self._left < 0:
                    raise _TooLargeError
                yield chunk

        async def aclose(self) -> None:
            await self._stream.aclose()

    async def hook(response: Any) -> None:
        packed = response.headers.get("content-encoding", "identity") != "identity"
        response.stream = Bounded(response.stream, LARGEST_PACKED_BODY if packed else LARGEST_BODY)

    return hook


def parse_retry_after(headers: Any) -> float | None:
    """Seconds from a Retry-After header (seconds or a date) or its millisecond form; None without a valid one."""
    try:
        if "retry-after-ms" in headers:
            seconds = float(headers["retry-after-ms"]) / 1000
        else:
            value = headers.get("retry-after", "")
            try:
                seconds = float(value)
            except ValueError:
                # Against the sender's clock where it tells: ours may be hours off, or have jumped.
                sent = _seconds(headers["date"]) if "date" in headers else time.time()
                seconds = _seconds(value) - sent
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), 86_400.0) if math.isfinite(seconds) else None


def _seconds(date: str) -> float:
    return email.utils.parsedate_to_datetime(date).timestamp()


def _message_of(body: object) -> str:
    if isinstance(body, dict):
        inner = body.get("error", body)
        found = inner.get("message") or inner.get("detail") if isinstance(inner, dict) else inner
        return found if isinstance(found, str) else json.dumps(found) if found else ""
    if isinstance(body, str):
        return re.sub(r"<[^>]*>", " ", body[:4000])
    return ""


def _code_of(body: object) -> object:
    inner = body.get("error", body) if isinstance(body, dict) else None
    return inner.get("code") if isinstance(inner, dict) else None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    for _ in range(20):
        if seen is None:
            return
        yield seen
        seen = seen.__cause__ or seen.__context__


def _logprobs(choice: dict[str, Any]) -> list[Any] | None:
    given = choice.get("logprobs")
    content = given.get("content") if isinstance(given, dict) else None
    return content if isinstance(content, list) else None


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 40 else None
