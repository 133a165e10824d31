"""How a model that knows no task is asked: instruction, examples, form of the answer, template."""

import hashlib
import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from string import Formatter
from typing import Literal, TypedDict, cast, final

from armt.core.errors import ConfigError, UnknownNameError, suggestion

Part = Literal["instruction", "examples", "post_prompt"]
"""What can be left out of a prompt."""

TEMPLATE = (
    "{instruction}\n\n{examples}\n\n{post_prompt}\n\n"
    "<context>\n{context}\n</context>\n\nQuestion: {question}"
)
"""The order of the parts in the benchmark's own prompts."""

HELPFUL_SYSTEM = "You are a helpful assistant."
"""A system line as many chat services are asked with."""

_FIELDS = frozenset({"instruction", "examples", "post_prompt", "context", "question"})
_NEEDED = frozenset({"context", "question"})
_EXAMPLE = re.compile(r"<example>\s*(.*?)\s*Answer:\s*(.*?)\s*</example>", re.DOTALL)


class Message(TypedDict):
    """One turn of a conversation."""

    role: str
    content: str


@final
@dataclass(frozen=True, kw_only=True)
class Prompt:
    """The wording around one context and its question; an empty part is left out."""

    instruction: str = ""
    """What the text is and by which rule to answer."""

    examples: str = ""
    """Worked cases between `<example>` tags, each with a line `Answer: ...`."""

    post_prompt: str = ""
    """The form that the answer should have."""

    template: str = TEMPLATE
    """Where the parts, `{context}` and `{question}` stand."""

    system: str = ""
    """A system message before the conversation; none if empty."""

    form: Literal["single", "turns"] = "single"
    """`single`: everything in one message of the user. `turns`: the instruction as system message,
    each example as a question and its answer, and context, question and post-prompt at the end."""

    def __post_init__(self) -> None:
        """Checks form and template."""
        if self.form not in ("single", "turns"):
            raise ConfigError(f"`form` must be 'single' or 'turns'. Got {self.form!r}.")
        try:
            found = {name for _, name, _, _ in Formatter().parse(self.template) if name is not None}
        except ValueError as error:
            raise ConfigError(f"The prompt's template cannot be read: {error}.") from error
        if not _NEEDED <= found <= _FIELDS:
            raise ConfigError(
                "A prompt's template needs {context} and {question}, and may have {instruction}, "
                f"{{examples}} and {{post_prompt}}. Got {self.template!r}."
            )

    @property
    def hash(self) -> str:
        """12 hexadecimal digits of the SHA-256 of all parts and the form."""
        return _hash(
            [
                self.instruction,
                self.examples,
                self.post_prompt,
                self.template,
                self.system,
                self.form,
            ]
        )

    def without(self, *parts: Part) -> "Prompt":
        """Returns the prompt with the named parts left out."""
        return replace(self, **dict.fromkeys(parts, ""))

    def text(self, context: str, question: str) -> str:
        """Returns the whole as one text, stripped, as the benchmark formats it."""
        filled = self.template.format(
            instruction=self.instruction,
            examples=self.examples,
            post_prompt=self.post_prompt,
            context=context.strip(),
            question=question,
        )
        return filled.strip()

    def messages(self, context: str, question: str) -> list[Message]:
        """Returns the conversation that a chat model answers, in the prompt's form."""
        if self.form == "turns":
            return list(self._turns(context, question))
        start = [_message("system", self.system)] if self.system else []
        return [*start, _message("user", self.text(context, question))]

    def _turns(self, context: str, question: str) -> Iterator[Message]:
        system = "\n\n".join(part for part in (self.system, self.instruction) if part)
        if system:
            yield _message("system", system)
        for asked, answer in cast("list[tuple[str, str]]", _EXAMPLE.findall(self.examples)):
            yield _message("user", asked)
            yield _message("assistant", answer)
        last = f"<context>\n{context.strip()}\n</context>\n\nQuestion: {question.strip()}"
        yield _message("user", f"{last}\n\n{self.post_prompt}".strip())


@final
class PromptBook:
    """The prompts of several tasks."""

    def __init__(self, prompts: Mapping[str, Prompt]) -> None:
        """Takes the prompt of each task."""
        self._prompts = dict(prompts)

    def __getitem__(self, task: str) -> Prompt:
        """Returns the prompt of `task`.

        Raises:
            UnknownNameError: the book has none; a near name is suggested.
        """
        if task not in self._prompts:
            hint = suggestion(task, self._prompts)
            raise UnknownNameError(
                f"There is no prompt for the task '{task}'.{hint} Known: "
                f"{', '.join(self._prompts) or 'none'}."
            )
        return self._prompts[task]

    @property
    def tasks(self) -> tuple[str, ...]:
        """The tasks that have a prompt."""
        return tuple(self._prompts)

    @property
    def hash(self) -> str:
        """The hash of the only prompt, or one over all of them and their tasks, in any order."""
        hashes = {task: self._prompts[task].hash for task in sorted(self._prompts)}
        return next(iter(hashes.values())) if len(hashes) == 1 else _hash(hashes)

    def only(self, *tasks: str) -> "PromptBook":
        """Returns the prompts of the named tasks.

        Raises:
            UnknownNameError: one of them has none.
        """
        return PromptBook({task: self[task] for task in tasks})

    def changed(
        self,
        *,
        without: Iterable[Part] = (),
        system: str | None = None,
        form: Literal["single", "turns"] | None = None,
    ) -> "PromptBook":
        """Returns the book with parts left out, another system line or another form."""
        parts = tuple(without)
        return PromptBook(
            {
                task: replace(
                    prompt.without(*parts),
                    system=prompt.system if system is None else system,
                    form=form or prompt.form,
                )
                for task, prompt in self._prompts.items()
            }
        )


@cache
def own_prompts() -> PromptBook:
    """Returns the library's prompts for all twenty tasks, in wording of its own."""
    source = files("armt.tasks.babilong").joinpath("own_prompts.toml")
    table = tomllib.loads(source.read_text(encoding="utf-8"))
    opening = str(table.pop("opening"))
    return PromptBook({task: _own_prompt(opening, parts) for task, parts in table.items()})


def own_prompt(task: str) -> Prompt:
    """Returns the library's prompt for `task`, `qa1` to `qa20`.

    Raises:
        UnknownNameError: there is no such task.
    """
    return own_prompts()[task]


def _own_prompt(opening: str, parts: Mapping[str, object]) -> Prompt:
    examples = cast("list[list[str]]", parts["examples"])
    return Prompt(
        instruction=f"{opening.format(about=parts['about'])} {parts['rule']}",
        examples="\n\n".join(_example(*example) for example in examples),
        post_prompt=str(parts["post_prompt"]),
    )


def _example(facts: str, question: str, answer: str) -> str:
    return f"<example>\n{facts} {question}\nAnswer: {answer}\n</example>"


def _message(role: str, content: str) -> Message:
    return {"role": role, "content": content}


def _hash(parts: object) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]
