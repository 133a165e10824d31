"""Any causal language model of Hugging Face, asked by a prompt."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast, final

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.utils import is_flash_attn_2_available

from armt.core.config import Config
from armt.core.errors import ArmtError, BackboneError, ConfigError
from armt.core.shapes import Int, Tensor
from armt.evaluation.answers import evaluating
from armt.evaluation.judging import babi_name
from armt.evaluation.subject import About, Answer, Arm, told_by
from armt.evaluation.subjects.apart import ask_apart_if_needed
from armt.evaluation.subjects.hashing import short_hash
from armt.evaluation.subjects.prompt_ids import PromptIds, PromptWriter, Shortening
from armt.recurrence.fingerprint import backbone_fingerprint, model_fingerprint, tokenizer_hash
from armt.recurrence.model import Recurrent
from armt.tasks.babilong.prompts import PromptBook, own_prompts
from armt.tasks.contract import Sample


@dataclass(frozen=True, kw_only=True)
class CausalConfig(Config):
    """How a causal language model is asked."""

    batch_size: int = 1
    """Prompts answered side by side; shorter ones are padded on their left."""

    max_answer_len: int = 20
    """Tokens of an answer, at most."""

    max_prompt_len: int | None = None
    """Tokens of a prompt, at most; by default as many as the model has positions for."""

    shortening: Shortening = "context"
    """What is dropped of a prompt that is too long. `context`: the beginning of the context, so
    that instruction and question stay whole. `prompt`: the beginning of the whole prompt, as in the
    published results of GPT-2."""

    has_chat_template: bool = False
    """Whether the prompt is a message in the tokenizer's chat template."""

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in ("batch_size", "max_answer_len"):
            if getattr(self, name) < 1:
                raise ConfigError(f"`{name}` must be at least 1. Got {getattr(self, name)}.")
        if self.max_prompt_len is not None and self.max_prompt_len < 1:
            raise ConfigError(f"`max_prompt_len` must be at least 1. Got {self.max_prompt_len}.")
        if self.shortening not in ("context", "prompt"):
            raise ConfigError(
                f"`shortening` must be 'context' or 'prompt'. Got {self.shortening!r}."
            )


@final
class CausalSubject:
    """A causal language model that is shown as much of a context as it has positions for."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: object,
        config: CausalConfig | None = None,
        prompts: PromptBook | None = None,
        *,
        name: str,
    ) -> None:
        """Takes a model where it is, its tokenizer of transformers, and the prompts of the tasks.

        The prompts are by default the library's own.

        Raises:
            ConfigError: the tokenizer has no chat template and one is asked for.
        """
        self.config = config or CausalConfig()
        self.prompts = prompts or own_prompts()
        self.about = About(
            name=name,
            category="causal",
            knows_facts=False,
            told=told_by(self.prompts, has_chat_template=self.config.has_chat_template),
            prompt_set=self.prompts.hash,
            batch_size=self.config.batch_size,
        )
        self._model, self._tokenizer = model, cast("Any", tokenizer)
        self._max_prompt_len = _max_prompt_len(model, self.config)
        self._writer = PromptWriter(
            tokenizer,
            max_len=self._max_prompt_len,
            shortening=self.config.shortening,
            has_chat_template=self.config.has_chat_template,
        )

    @property
    def fingerprint(self) -> str:
        """A hash of weights, tokenizer and all that decides the answer but the prompt of a task."""
        model = self._model
        is_recurrent = isinstance(model, Recurrent)
        return short_hash(
            [
                model_fingerprint(model) if is_recurrent else backbone_fingerprint(model),
                tokenizer_hash(self._tokenizer),
                self._tokenizer.chat_template if self.config.has_chat_template else "",
                self.config.max_answer_len,
                self._max_prompt_len,
                self.config.shortening,
            ]
        )

    def answer(
        self, samples: Sequence[Sample], arms: Sequence[Arm]
    ) -> Mapping[Arm, Sequence[Answer]]:
        """Answers greedily.

        Raises:
            UnknownNameError: there is no prompt for the task.
            ConfigError: a prompt has no room even without its context.
        """
        return ask_apart_if_needed(
            lambda part: {arm: self._ask(part) for arm in arms}, samples, arms
        )

    def _ask(self, samples: Sequence[Sample]) -> list[Answer]:
        prompts = [
            self._writer.write(self.prompts[babi_name(sample.task) or sample.task], sample)
            for sample in samples
        ]
        return [
            Answer(
                text=text, num_dropped=prompt.num_dropped, details={"prompt_len": len(prompt.ids)}
            )
            for text, prompt in zip(self._generate(prompts), prompts, strict=True)
        ]

    @torch.no_grad()
    def _generate(self, prompts: Sequence[PromptIds]) -> list[str]:
        pad_id = _pad_id(self._tokenizer)
        ids, mask = _padded([prompt.ids for prompt in prompts], pad_id)
        device = self._model.device
        with evaluating(self._model):
            output: Any = cast("Any", self._model).generate(
                ids.to(device),
                attention_mask=mask.to(device),
                do_sample=False,
                num_beams=1,
                temperature=None,
                top_p=None,
                top_k=None,
                max_new_tokens=self.config.max_answer_len,
                pad_token_id=pad_id,
            )
        answers = output[:, ids.shape[1] :]
        return cast("list[str]", self._tokenizer.batch_decode(answers, skip_special_tokens=True))


def load_causal(
    folder: str,
    config: CausalConfig | None = None,
    prompts: PromptBook | None = None,
    *,
    name: str = "",
) -> CausalSubject:
    """Loads a model and its tokenizer; on a GPU in bfloat16, with FlashAttention if there is any.

    Args:
        folder: a folder, or a name that transformers can find.
        config: how it is asked.
        prompts: the prompts of the tasks, by default the library's own.
        name: what it is called in tables; by default the last part of `folder`.

    Raises:
        BackboneError: it cannot be loaded.
        ConfigError: the tokenizer has no chat template and one is asked for.
    """
    has_gpu = torch.cuda.is_available()
    options: dict[str, Any] = {"dtype": torch.bfloat16 if has_gpu else torch.float32}
    if has_gpu and is_flash_attn_2_available():
        options["attn_implementation"] = "flash_attention_2"
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, **options)
    except ArmtError:
        raise
    except Exception as error:  # weights that were cut short raise what no list names
        raise BackboneError(
            f"No causal language model can be loaded from '{folder}': {str(error).rstrip('. ')}. "
            "Give a folder with a model and its tokenizer."
        ) from error
    if has_gpu:
        model = model.to("cuda")
    last = folder.rstrip("/").rpartition("/")[2]
    return CausalSubject(model.eval(), tokenizer, config, prompts, name=name or last)


def _max_prompt_len(model: PreTrainedModel, config: CausalConfig) -> int | None:
    """Returns the most tokens that a prompt may have; none if a memory reads any number.

    Raises:
        ConfigError: the model has no positions left for a prompt.
    """
    options: Any = cast("Any", model.config).get_text_config()
    num_positions = cast("int | None", getattr(options, "max_position_embeddings", None))
    if config.max_prompt_len is not None or num_positions is None or isinstance(model, Recurrent):
        return config.max_prompt_len
    if num_positions <= config.max_answer_len:
        raise ConfigError(
            f"The model has {num_positions} positions, none for a prompt before an answer of "
            f"{config.max_answer_len} tokens. Make `max_answer_len` smaller."
        )
    return num_positions - config.max_answer_len


def _pad_id(tokenizer: Any) -> int:
    """Returns the token that fills a row: its own, the end token, or, masked anyway, the first."""
    for found in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if found is not None:
            return cast("int", found)
    return 0


def _padded(
    rows: Sequence[Sequence[int]], pad_id: int
) -> tuple[Int[Tensor, "B T"], Int[Tensor, "B T"]]:
    """Returns the rows, padded on their left, and a mask that is 0 at padding."""
    width = max(len(row) for row in rows)
    ids = torch.tensor([[pad_id] * (width - len(row)) + list(row) for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    return ids, mask
