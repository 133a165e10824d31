"""Requests to an OpenAI-compatible server: bounded, timed, tried again where that can help."""

import asyncio
import email.utils
import json
import os
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, cast, final

from armt.core.config import Config, PlainTree
from armt.core.errors import ConfigError

# Importing httpx draws from Python's random numbers, so it waits for the first client.
if TYPE_CHECKING:
    import httpx

Body = Mapping[str, PlainTree]
"""A JSON object."""

_TOO_BUSY = frozenset({408, 409, 425, 429})
_REFUSED = frozenset({401, 403})
_NOT_FOUND = 404
_SHOWN = 200


@dataclass(frozen=True, kw_only=True)
class RequestConfig(Config):
    """Where requests go, how many at a time, and how patiently."""

    url: str = "http://127.0.0.1:8000/v1"
    """The address of the API, up to and with its version."""

    api_key_env: str = ""
    """Name of the environment variable that holds the key; empty for a server that asks none."""

    num_parallel: int = 8
    """Requests under way at one time, at most."""

    num_attempts: int = 5
    """Times that a request is sent before it counts as failed."""

    timeout_s: float = 300.0
    """Seconds that one attempt may take, from connecting to the last byte."""

    backoff_s: float = 1.0
    """Seconds to wait after the first failed attempt, about; doubled after each further one."""

    max_backoff_s: float = 60.0
    """Longest wait between attempts, in seconds, also if the server asks for more."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"`url` must begin with http:// or https://. Got '{self.url}'.")
        for name in ("num_parallel", "num_attempts"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.timeout_s <= 0 or self.backoff_s < 0 or self.max_backoff_s < 0:
            raise ConfigError(
                "`timeout_s` must be positive, `backoff_s` and `max_backoff_s` not negative. Got "
                f"{self.timeout_s}, {self.backoff_s} and {self.max_backoff_s}."
            )

    def api_key(self) -> str:
        """Returns the key from its environment variable; empty if none is named.

        Raises:
            ConfigError: the variable is not set.
        """
        if not self.api_key_env:
            return ""
        key = os.environ.get(self.api_key_env, "")
        if not key:
            raise ConfigError(
                f"The environment variable '{self.api_key_env}' holds no key. Set it, or name "
                "another one with `api_key_env`."
            )
        return key


class Reply(NamedTuple):
    """What came of a request."""

    body: Body | None
    """The server's JSON object; none after a failure."""

    failure: str
    """Why there is none."""

    num_attempts: int
    """Times that the request was sent."""


class _Attempt(NamedTuple):
    body: Body | None
    failure: str = ""
    is_worth_another: bool = False
    wait_s: float = 0.0


@final
class RequestClient:
    """Sends JSON to one server; use it in `async with`."""

    def __init__(self, config: RequestConfig) -> None:
        """Reads the key; connects to nothing yet.

        Raises:
            ConfigError: the environment variable of the key is not set.
        """
        import httpx

        self.config = config
        self._key = config.api_key()
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        limits = httpx.Limits(max_connections=config.num_parallel)
        # Certificates take a while to load and have no use without encryption.
        verify = config.url.startswith("https")
        self._http = httpx.AsyncClient(headers=headers, timeout=None, limits=limits, verify=verify)
        self._slots = asyncio.Semaphore(config.num_parallel)
        self._jitter = random.Random()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._http.aclose()

    async def post(self, path: str, make_body: Callable[[], Body]) -> Reply:
        """Sends what `make_body` returns, again and again until it works or hope is gone.

        The body is made in a thread, and only when the request's turn has come, so that few long
        texts are held at a time. Tried again are timeouts, broken connections, answers that are no
        JSON, and the statuses 408, 409, 425, 429 and 5xx.

        Raises:
            ConfigError: the server refuses the key, or knows no such model or address; no further
                request could do better.
        """
        num_attempts, attempt = 0, _Attempt(None)
        async with self._slots:
            content = await asyncio.to_thread(lambda: _encoded(make_body()))
            while num_attempts < self.config.num_attempts:
                if num_attempts:
                    await asyncio.sleep(self._wait(num_attempts, attempt.wait_s))
                attempt = await self._try(path, content)
                num_attempts += 1
                if not attempt.is_worth_another:
                    break
        return Reply(attempt.body, self._without_key(attempt.failure), num_attempts)

    def _wait(self, num_attempts: int, asked_s: float) -> float:
        """Seconds to wait: exponential with jitter, and no less than the server asked for."""
        spread = self._jitter.uniform(0.5, 1.5)
        own = self.config.backoff_s * 2 ** (num_attempts - 1) * spread
        return min(max(own, asked_s), self.config.max_backoff_s)

    async def _try(self, path: str, content: bytes) -> _Attempt:
        import httpx

        url = f"{self.config.url.rstrip('/')}/{path}"
        kind = {"Content-Type": "application/json"}
        try:
            async with asyncio.timeout(self.config.timeout_s):
                response = await self._http.post(url, content=content, headers=kind)
        except TimeoutError:
            reason = f"no answer within {self.config.timeout_s:g} s"
            return _Attempt(None, reason, is_worth_another=True)
        except httpx.TransportError as error:
            return _Attempt(None, _spell(error), is_worth_another=True)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _Attempt(None, _spell(error))
        return self._judge(response)

    def _judge(self, response: "httpx.Response") -> _Attempt:
        status = response.status_code
        told = f"status {status}: {_shown(response.text)}"
        if status in _REFUSED:
            raise ConfigError(
                f"The server at '{self.config.url}' refuses access (status {status}). Name the "
                "environment variable of a valid key with `api_key_env`."
            )
        if status == _NOT_FOUND:
            raise ConfigError(
                f"The server at '{self.config.url}' has no such model or address. Check `model` "
                f"and `url`. It says: {self._without_key(_shown(response.text))}"
            )
        if status in _TOO_BUSY or response.is_server_error:
            return _Attempt(None, told, is_worth_another=True, wait_s=_asked_wait(response))
        if not response.is_success:
            return _Attempt(None, told)
        return _parsed(response)

    def _without_key(self, text: str) -> str:
        """Returns `text` fit to be kept: a server may repeat the key it was sent."""
        return text.replace(self._key, "***") if self._key else text


def _encoded(body: Body) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode(errors="replace")


def _parsed(response: "httpx.Response") -> _Attempt:
    try:
        body: object = response.json()
    except (ValueError, RecursionError):
        reason = f"the answer is no JSON: {_shown(response.text)}"
        return _Attempt(None, reason, is_worth_another=True)
    if not isinstance(body, dict):
        return _Attempt(None, f"the answer is no JSON object: {_shown(response.text)}")
    return _Attempt(cast("Body", body))


def _asked_wait(response: "httpx.Response") -> float:
    """Seconds that the header `Retry-After` asks for: a number or a date."""
    asked = response.headers.get("Retry-After", "")
    try:
        return max(0.0, float(asked))
    except ValueError:
        pass
    try:
        date = email.utils.parsedate_to_datetime(asked)
    except ValueError:
        return 0.0
    return max(0.0, date.timestamp() - time.time())


def _spell(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".rstrip(": ")


def _shown(text: str) -> str:
    short = " ".join(text[: 2 * _SHOWN].split())
    return short[:_SHOWN] or "(empty)"
