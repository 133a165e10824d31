"""A recurrent model as a model of the lm-evaluation-harness: the context goes through the memory.

The harness is imported when a model is made, never before.
"""

import json
from abc import ABC
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import StoppingCriteriaList

from armt.core.errors import ConfigError, MissingExtraError
from armt.core.shapes import Int, Tensor
from armt.evaluation.answers import evaluating
from armt.evaluation.lm_eval.likelihood import (
    Continuation,
    continuation_likelihoods,
    text_likelihood,
)
from armt.evaluation.lm_eval.stopping import StopAtText, Wish
from armt.evaluation.subjects.hashing import short_hash
from armt.evaluation.subjects.words import whole_words
from armt.recurrence.fingerprint import model_fingerprint
from armt.recurrence.model import Recurrent
from armt.tasks.contract import Ids, TextEncoder

if TYPE_CHECKING:
    from lm_eval.api.model import LM

RenderMessages = Callable[[list[dict[str, str]], bool], str]
"""Writes a conversation as text; the flag asks for the start of the answer at its end."""


@dataclass(frozen=True, kw_only=True)
class PromptForm:
    """How prompts look to a model."""

    encode_text: Callable[[str], list[int]] | None = None
    """Encodes a text as the model knows it; by default the tokenizer does."""

    encode_question: Callable[[str], list[int]] | None = None
    """Encodes a question and what asks for an answer. If given, the last line of every prompt to
    generate from is a question, and answers are stripped."""

    render: RenderMessages | None = None
    """The chat template, if the model has one."""

    batch_size: int = 8
    """Prompts of one length that are read side by side."""

    max_answer_len: int = 256
    """Tokens to generate, at most, where the task does not say."""

    def __post_init__(self) -> None:
        """Checks the numbers."""
        for name in ("batch_size", "max_answer_len"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")


@dataclass(frozen=True)
class _Prompt:
    context: Ids
    """Read into the memory."""

    question: list[int]
    """What the answer follows; at least one token."""


def recurrent_lm(model: Recurrent, encoder: TextEncoder, form: PromptForm | None = None) -> "LM":
    """Returns the model as an `LM` for `lm_eval.simple_evaluate`.

    Contexts of any length are read segment by segment into an empty memory, for each request anew;
    nothing is cut. It runs in one process, on the device where the model is.

    Raises:
        MissingExtraError: the lm-evaluation-harness is not installed.
    """
    require_lm_eval()
    from lm_eval.api.model import TemplateLM

    made = type("RecurrentLM", (RecurrentRequests, TemplateLM), {"__module__": __name__})
    return made(model, encoder, form or PromptForm())


def require_lm_eval() -> None:
    """Checks that the lm-evaluation-harness is there.

    Raises:
        MissingExtraError: it is not installed.
    """
    if find_spec("lm_eval") is None:
        raise MissingExtraError("The lm-evaluation-harness", "lm-eval")


class RecurrentRequests(ABC):
    """The requests of the harness, for its `TemplateLM` to be mixed with."""

    cache_hook: Any

    def __init__(self, model: Recurrent, encoder: TextEncoder, form: PromptForm) -> None:
        """Takes a model, its tokenizer and how it is asked."""
        super().__init__()
        self.model, self.encoder, self.form = model, encoder, form

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    @property
    def eot_token_id(self) -> int:
        """The end token; it stands for an empty context too."""
        return self.encoder.end_id

    @property
    def tokenizer_name(self) -> str:
        """A hash of the tokenizer."""
        return f"armt-{self.encoder.digest[:16]}"

    def get_model_info(self) -> dict[str, Any]:
        """Returns what is kept of the model with the results."""
        return {
            "model_num_parameters": self.model.num_parameters(),
            "model_dtype": str(self.model.dtype),
            "model_fingerprint": short_hash(model_fingerprint(self.model)),
            "memory": self.model.memory.config.to_dict(),
            "segment_len": self.model.recurrence.segment_len,
        }

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **options: object
    ) -> list[int]:
        """Returns the tokens of a text; none is added to them."""
        del add_special_tokens, options
        return self._encode(string).tolist()

    def _encode(self, text: str) -> Ids:
        """Returns the tokens as an array: a list of a long text's would be many times as large."""
        encode = self.form.encode_text or self.encoder.encode
        pieces = [np.asarray(encode(piece), dtype=np.int32) for piece in whole_words([text])]
        return np.concatenate(pieces) if pieces else np.zeros(0, dtype=np.int32)

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """Writes a conversation as text.

        Raises:
            ConfigError: the model has no chat template.
        """
        if self.form.render is None:
            raise ConfigError(
                "This model has no chat template. Ask without one, or give "
                "`PromptForm(render=...)`."
            )
        return self.form.render(chat_history, add_generation_prompt)

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = False) -> list[str]:
        """Answers prompts `(text, arguments)`; equal lengths side by side, the longest first."""
        del disable_tqdm
        prompts = [self._prompt(request.args[0]) for request in requests]
        kinds = [_kind(request.args[1]) for request in requests]
        answers: dict[int, str] = {}
        keys = [(len(prompt.context), kind) for prompt, kind in zip(prompts, kinds, strict=True)]
        for group in _groups(keys, self.form.batch_size):
            wish = Wish.of(requests[group[0]].args[1], self.form.max_answer_len)
            texts = self._generate([prompts[number] for number in group], wish)
            for number, text in zip(group, texts, strict=True):
                answers[number] = text
                self.cache_hook.add_partial("generate_until", requests[number].args, text)
        return [answers[number] for number in range(len(requests))]

    def loglikelihood_rolling(
        self, requests: Sequence[Any], disable_tqdm: bool = False
    ) -> list[float]:
        """Returns the log-likelihood of whole texts, read once and never cut."""
        del disable_tqdm
        found: list[float] = []
        for request in requests:
            ids = self.tok_encode(request.args[0])
            with evaluating(self.model):
                found.append(text_likelihood(self.model, self.eot_token_id, ids) if ids else 0.0)
            self.cache_hook.add_partial("loglikelihood_rolling", request.args, found[-1])
        return found

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **options: object
    ) -> list[tuple[float, bool]]:
        """Called by `loglikelihood`; a context is read once for all of its continuations."""
        del options
        by_context: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, (_, context, _) in enumerate(requests):
            by_context[tuple(context or [self.eot_token_id])].append(number)
        contexts = list(by_context)
        answers: dict[int, tuple[float, bool]] = {}
        for group in _groups([len(context) for context in contexts], self.form.batch_size):
            shared = [contexts[each] for each in group]
            numbers = [number for context in shared for number in by_context[context]]
            rows = [row for row, context in enumerate(shared) for _ in by_context[context]]
            tails = [
                Continuation(row, requests[number][2])
                for row, number in zip(rows, numbers, strict=True)
            ]
            with evaluating(self.model):
                found = continuation_likelihoods(self.model, shared, tails)
            for number, likelihood in zip(numbers, found, strict=True):
                answers[number] = likelihood.log_prob, likelihood.is_greedy
                self.cache_hook.add_partial("loglikelihood", requests[number][0], answers[number])
        return [answers[number] for number in range(len(requests))]

    def _prompt(self, text: str) -> _Prompt:
        if self.form.encode_question is None:
            ids = self._encode(text)
            last = int(ids[-1]) if len(ids) else self.eot_token_id
            return _Prompt(ids[:-1], [last])
        context, _, question = text.rstrip().rpartition("\n")
        return _Prompt(self._encode(context), self.form.encode_question(question))

    @torch.no_grad()
    def _generate(self, prompts: Sequence[_Prompt], wish: Wish) -> list[str]:
        """Answers prompts whose contexts are of one length."""
        device, end_id = self.model.device, self.encoder.end_id
        with evaluating(self.model):
            contexts = torch.from_numpy(np.stack([prompt.context for prompt in prompts])).long()
            state = self.model.init_state(len(prompts))
            if contexts.shape[1]:
                state = self.model.read(contexts, state)
            ids, mask = _padded([prompt.question for prompt in prompts], end_id)
            stop = StopAtText(self.encoder, wish.stops, ids.shape[1])
            output = self.model.generate(
                ids.to(device),
                attention_mask=mask.to(device),
                state=state,
                max_new_tokens=wish.max_answer_len,
                stopping_criteria=StoppingCriteriaList([stop] if wish.stops else []),
                eos_token_id=end_id,
                pad_token_id=end_id,
                **wish.options,
            )
        return [self._spell(row, wish) for row in output[:, ids.shape[1] :].tolist()]

    def _spell(self, ids: list[int], wish: Wish) -> str:
        end_id = self.encoder.end_id
        kept = ids[: ids.index(end_id)] if end_id in ids else ids
        text = wish.cut(self.encoder.decode(kept))
        return text if self.form.encode_question is None else text.strip()


def _padded(rows: Sequence[list[int]], pad_id: int) -> tuple[Int[Tensor, "B T"], Tensor]:
    """Returns rows padded on their left, and 1 where they are not padding."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _kind(arguments: Mapping[str, Any]) -> str:
    return json.dumps(dict(arguments), sort_keys=True, default=str)


def _groups(keys: Iterable[Hashable], size: int) -> Iterator[list[int]]:
    """Yields numbers of equal keys together, at most `size`; the largest keys first."""
    by_key: dict[Any, list[int]] = defaultdict(list)
    for number, key in enumerate(keys):
        by_key[key].append(number)
    for key in sorted(by_key, reverse=True):
        numbers = by_key[key]
        yield from (numbers[start : start + size] for start in range(0, len(numbers), size))
