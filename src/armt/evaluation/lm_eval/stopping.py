"""How a task of the lm-evaluation-harness wants its text generated, and where it stops."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from transformers import StoppingCriteria

from armt.core.errors import ConfigError
from armt.core.shapes import Bool, Int, Tensor
from armt.tasks.contract import TextEncoder

_LIMITS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p")


@dataclass(frozen=True)
class Wish:
    """What a request asks for."""

    stops: tuple[str, ...]
    """The text ends before the first of these."""

    max_answer_len: int
    """Tokens, at most."""

    options: Mapping[str, Any]
    """Options of `generate`."""

    @classmethod
    def of(cls, arguments: Mapping[str, Any], max_answer_len: int) -> "Wish":
        """Reads the generation arguments of a request; the number is for one without a limit.

        Raises:
            ConfigError: the limit is less than 1, or a stop is no text.
        """
        options = dict(arguments)
        until: Any = options.pop("until", None) or ()
        stops = (until,) if isinstance(until, str) else tuple(until)
        if not all(isinstance(stop, str) for stop in stops):
            raise ConfigError(f"`until` must be texts. Got {until!r}.")
        limits = [options.pop(name, None) for name in _LIMITS]
        limit = next((int(each) for each in limits if each is not None), max_answer_len)
        if limit < 1:
            raise ConfigError(f"A task asks for {limit} tokens. It must ask for at least one.")
        if not options.setdefault("do_sample", False):
            # Greedy search has no use for them and would warn of each.
            options |= dict.fromkeys(_SAMPLING)
        return cls(tuple(stop for stop in stops if stop), limit, options)

    def cut(self, text: str) -> str:
        """Returns `text` up to the first stop."""
        ends = [text.find(stop) for stop in self.stops if stop in text]
        return text[: min(ends)] if ends else text


@final
class StopAtText(StoppingCriteria):
    """Ends a row when one of its texts has been generated."""

    def __init__(self, encoder: TextEncoder, stops: Sequence[str], prompt_len: int) -> None:
        """Takes the texts, and how many tokens at the beginning of a row were given."""
        self._encoder, self._stops, self._prompt_len = encoder, tuple(stops), prompt_len

    def __call__(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, input_ids: Int[Tensor, "B T"], scores: object, **options: object
    ) -> Bool[Tensor, " B"]:
        """Returns which rows are done."""
        del scores, options
        rows = cast("list[list[int]]", input_ids[:, self._prompt_len :].tolist())
        texts = [self._encoder.decode(row) for row in rows]
        is_done = [any(stop in text for stop in self._stops) for text in texts]
        return torch.tensor(is_done, device=input_ids.device)
