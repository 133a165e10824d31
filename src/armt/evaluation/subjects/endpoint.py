"""Any model behind an OpenAI-compatible server."""

import asyncio
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, cast, final

from armt.core.config import Config, PlainTree
from armt.core.errors import ArmtError, ConfigError
from armt.evaluation.judging import babi_name
from armt.evaluation.subject import About, Answer, Arm, PartlyAnsweredError, told_by
from armt.evaluation.subjects.endpoint_client import Body, Reply, RequestClient, RequestConfig
from armt.evaluation.subjects.hashing import short_hash
from armt.tasks.babilong.prompts import Message, Prompt, PromptBook, own_prompts
from armt.tasks.contract import Sample

EncodeMessages = Callable[[Sequence[Message]], Sequence[int]]
"""Turns a conversation into token ids by a chat template, up to where the answer begins."""

_NUM_ROUNDS = 4
"""Samples taken together, for each that is asked at a time: a slow one holds up few others."""

_SET_BY_US = frozenset({"model", "messages", "prompt", "stream", "n"})


@dataclass(frozen=True, kw_only=True)
class EndpointConfig(Config):
    """What is asked of a server, and how."""

    model: str
    """The name of the model, as the server knows it."""

    request: RequestConfig = field(default_factory=RequestConfig)
    """Where requests go, how many at a time, and how patiently."""

    form: Literal["chat", "completions", "ids"] = "chat"
    """`chat`: messages to `chat/completions`. `completions`: the prompt as one text to
    `completions`. `ids`: token ids to `completions`, the chat template applied here."""

    max_answer_len: int = 20
    """Tokens of an answer, at most."""

    temperature: float = 0.0
    """Randomness of the answer; 0 for the most likely one."""

    extra_body: str = "{}"
    """A JSON object whose entries are added to every request, such as `{"seed": 1}`; null removes
    an entry that is otherwise sent, such as `{"max_tokens": null}`."""

    def __post_init__(self) -> None:
        """Checks the options."""
        if not self.model:
            raise ConfigError("`model` needs the name of a model that the server knows. Got ''.")
        if self.form not in ("chat", "completions", "ids"):
            raise ConfigError(f"`form` must be 'chat', 'completions' or 'ids'. Got {self.form!r}.")
        if self.max_answer_len < 1 or self.temperature < 0:
            raise ConfigError(
                "`max_answer_len` must be at least 1 and `temperature` not negative. Got "
                f"{self.max_answer_len} and {self.temperature}."
            )
        taken = sorted(_SET_BY_US & set(self.extra()))
        if taken:
            raise ConfigError(f"`extra_body` must not set {', '.join(taken)}: that is done here.")

    def extra(self) -> Body:
        """Returns the entries of `extra_body`.

        Raises:
            ConfigError: it is no JSON object.
        """
        try:
            extra: object = json.loads(self.extra_body)
        except ValueError as error:
            raise ConfigError(
                f"`extra_body` must be a JSON object ({error}). Got {self.extra_body!r}."
            ) from error
        if not isinstance(extra, dict):
            raise ConfigError(f"`extra_body` must be a JSON object. Got {self.extra_body!r}.")
        return cast("Body", extra)

    def options(self) -> Body:
        """Returns all of a request but the question."""
        body: dict[str, PlainTree] = {
            "model": self.model,
            "temperature": self.temperature,
            "max_tokens": self.max_answer_len,
            **self.extra(),
        }
        return {name: value for name, value in body.items() if value is not None}


@final
class EndpointSubject:
    """A model behind a server, asked with many requests at a time.

    A request that fails for good is an answer with a failure; the others go on.
    """

    def __init__(
        self,
        config: EndpointConfig,
        prompts: PromptBook | None = None,
        *,
        encode: EncodeMessages | None = None,
    ) -> None:
        """Takes the prompts of the tasks, by default the library's own.

        Raises:
            ConfigError: the form is `ids` and there is no `encode`, or the key is not set.
        """
        if config.form == "ids" and encode is None:
            raise ConfigError("Asking by token ids needs `encode`, which applies a chat template.")
        _ = config.request.api_key()
        self.config = config
        self.prompts = prompts or own_prompts()
        self.about = About(
            name=f"endpoint/{config.model}",
            category="endpoint",
            knows_facts=False,
            told=told_by(self.prompts, has_chat_template=config.form != "completions"),
            prompt_set=self.prompts.hash,
            batch_size=_NUM_ROUNDS * config.request.num_parallel,
        )
        self._encode = encode

    @property
    def fingerprint(self) -> str:
        """A hash of the model's name, the form and the options; not of the address."""
        return short_hash([self.config.form, dict(self.config.options())])

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm] = ("none",)
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Asks about every sample; the lengths of their contexts may differ.

        Raises:
            ConfigError: the server refuses the key, or knows no such model or address.
            PartlyAnsweredError: it does so after some answers.
        """
        assert tuple(arms) == ("none",), f"an endpoint has no memory to switch off, got {arms}"
        return {"none": _run(self._ask_all(samples))}

    async def _ask_all(self, samples: Sequence[Sample]) -> list[Answer]:
        asked: list[asyncio.Task[Answer]] = []
        async with RequestClient(self.config.request) as client:
            try:
                async with asyncio.TaskGroup() as group:
                    asked += [group.create_task(self._ask(client, sample)) for sample in samples]
            except ExceptionGroup as errors:
                error, answers = _first(errors), _finished(asked)
                if answers and isinstance(error, ArmtError):
                    raise PartlyAnsweredError(error, {"none": answers}) from None
                raise error from None
        return [task.result() for task in asked]

    async def _ask(self, client: RequestClient, sample: Sample) -> Answer:
        prompt = self.prompts[babi_name(sample.task) or sample.task]
        path = "chat/completions" if self.config.form == "chat" else "completions"
        reply = await client.post(path, partial(self._body, prompt, sample))
        return self._answer(reply, prompt)

    def _body(self, prompt: Prompt, sample: Sample) -> Body:
        context = "".join(sample.text())
        options = dict(self.config.options())
        if self.config.form == "completions":
            return {**options, "prompt": prompt.text(context, sample.question)}
        messages = prompt.messages(context, sample.question)
        if self._encode is not None and self.config.form == "ids":
            return {**options, "prompt": [int(token) for token in self._encode(messages)]}
        return {**options, "messages": cast("PlainTree", messages)}

    def _answer(self, reply: Reply, prompt: Prompt) -> Answer:
        details: dict[str, PlainTree] = {
            "num_attempts": reply.num_attempts,
            "prompt_hash": prompt.hash,
        }
        if reply.body is None:
            return Answer(text="", failure=reply.failure, details=details)
        text = _output(reply.body, is_chat=self.config.form == "chat")
        usage = reply.body.get("usage")
        if isinstance(usage, dict):
            details |= {name: usage[name] for name in _COUNTS if isinstance(usage.get(name), int)}
        if text is None:
            failure = f"the answer holds no text: {json.dumps(reply.body)[:200]}"
            return Answer(text="", failure=failure, details=details)
        return Answer(text=text, details=details)


_COUNTS = ("prompt_tokens", "completion_tokens")


def _output(body: Body, *, is_chat: bool) -> str | None:
    """Returns the text of the first choice; none if there is none."""
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, dict):
        return None
    message = choice.get("message") if is_chat else choice
    text = message.get("content" if is_chat else "text") if isinstance(message, dict) else None
    return text if isinstance(text, str) else None


def _finished(asked: Sequence[asyncio.Task[Answer]]) -> dict[int, Answer]:
    """Returns the answers that came, by their numbers."""
    return {
        number: task.result()
        for number, task in enumerate(asked)
        if not task.cancelled() and task.exception() is None
    }


def _first(errors: ExceptionGroup[Any]) -> Exception:
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, ExceptionGroup) else error


def _run(work: Coroutine[Any, Any, list[Answer]]) -> list[Answer]:
    """Runs `work` to its end, also where an event loop is running already, as in notebooks."""
    try:
        _ = asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(work)
    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(asyncio.run, work).result()
