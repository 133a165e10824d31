"""Prompts as tokens, cut to the length that a model has positions for."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any, Literal, NamedTuple, cast, final

from armt.core.errors import ConfigError
from armt.evaluation.subjects.words import whole_words
from armt.tasks.babilong.prompts import Prompt
from armt.tasks.contract import Sample

Shortening = Literal["context", "prompt"]
"""What is dropped of a prompt that is too long: the beginning of the context, or of everything."""

_MARK = "<<< here stands the context >>>"


class PromptIds(NamedTuple):
    """A prompt that fits."""

    ids: list[int]
    """Its tokens."""

    num_dropped: int
    """Tokens of the context that it lacks."""


class _Tail(NamedTuple):
    """The last tokens of a long text."""

    ids: list[int]
    num_tokens: int
    """How many the whole text has."""


@final
class PromptWriter:
    """Writes prompts with a tokenizer of transformers.

    A context that does not fit is never held as a whole. What is kept of it was encoded in pieces
    that end where words end, which for some tokenizers adds a token at the beginning of a piece.
    """

    def __init__(
        self,
        tokenizer: object,
        *,
        max_len: int | None,
        shortening: Shortening = "context",
        has_chat_template: bool = False,
    ) -> None:
        """Takes the tokenizer and the most tokens that a prompt may have; none for any number.

        Raises:
            ConfigError: the tokenizer has no chat template and one is asked for.
        """
        self._tokenizer = cast("Any", tokenizer)
        self._max_len, self._shortening = max_len, shortening
        self._has_chat_template = has_chat_template
        if has_chat_template and not getattr(tokenizer, "chat_template", None):
            raise ConfigError(
                f"The tokenizer {type(tokenizer).__name__} has no chat template. Ask without one, "
                "or load the tokenizer of a chat model."
            )

    def write(self, prompt: Prompt, sample: Sample) -> PromptIds:
        """Returns the prompt about a sample, special tokens included.

        Raises:
            ConfigError: the prompt has no room even without its context, or the template loses it.
        """
        head, tail = self._around(prompt, sample.question)
        if self._max_len is None:
            return PromptIds(self._encode_first(_whole(head, sample, tail)), 0)
        return self._cut(head, sample, tail, self._max_len)

    def _cut(self, head: str, sample: Sample, tail: str, max_len: int) -> PromptIds:
        head_ids, tail_ids = self._encode_first(head), self._encode(tail)
        room = max_len - len(head_ids) - len(tail_ids)
        if room < 1 and self._shortening == "context":
            raise ConfigError(
                f"The prompt has {max_len - room} tokens without its context, and only {max_len} "
                "fit. Leave its examples out, or set `shortening='prompt'`."
            )
        kept = self._last(whole_words(_stripped(sample.text())), max_len)
        if kept.num_tokens <= max(0, room):
            ids = self._encode_first(_whole(head, sample, tail))
            if len(ids) <= max_len:
                return PromptIds(ids, 0)
        if self._shortening == "context":
            kept_ids = kept.ids[len(kept.ids) - room :] if len(kept.ids) > room else kept.ids
            ids = [*head_ids, *kept_ids, *tail_ids]
            return PromptIds(ids, kept.num_tokens - len(kept_ids))
        pieces = chain([head], _stripped(sample.text()), [tail])
        whole = self._last(whole_words(pieces), max_len)
        num_dropped = whole.num_tokens - len(whole.ids) - len(head_ids)
        return PromptIds(whole.ids, min(max(0, num_dropped), kept.num_tokens))

    def _around(self, prompt: Prompt, question: str) -> tuple[str, str]:
        """Returns what stands before and after the context."""
        if self._has_chat_template:
            messages = prompt.messages(_MARK, question)
            text = self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=True
            )
        else:
            text = prompt.text(_MARK, question)
        head, _, tail = cast("str", text).partition(_MARK)
        if text.count(_MARK) != 1:
            raise ConfigError(
                f"The context must stand in a prompt once, not {text.count(_MARK)} times. Change "
                "the template of the prompt or of the chat."
            )
        return head, tail

    def _last(self, pieces: Iterable[str], num_kept: int) -> _Tail:
        """Returns the last tokens of a text that is encoded piece by piece."""
        ids: list[int] = []
        num_tokens = 0
        for piece in pieces:
            found = self._encode(piece)
            num_tokens += len(found)
            ids = (ids + found)[-num_kept:]
        return _Tail(ids, num_tokens)

    def _encode_first(self, text: str) -> list[int]:
        """Returns the tokens of a text at whose beginning the special ones stand.

        A chat template has written them already.
        """
        return self._encode(text, is_first=not self._has_chat_template)

    def _encode(self, text: str, *, is_first: bool = False) -> list[int]:
        found = self._tokenizer(text, add_special_tokens=is_first, verbose=False)
        return cast("list[int]", found["input_ids"])


def _whole(head: str, sample: Sample, tail: str) -> str:
    return f"{head}{''.join(sample.text()).strip()}{tail}"


def _stripped(pieces: Iterable[str]) -> Iterator[str]:
    """Yields a text without the white space at its ends."""
    blank, is_first = "", True
    for piece in pieces:
        text = blank + piece
        if is_first:
            text = text.lstrip()
        kept = text.rstrip()
        blank = text[len(kept) :]
        if kept:
            is_first = False
            yield kept
