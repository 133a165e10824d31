"""Models in folders, with their tokenizer and the form in which they read and are asked."""

import copy
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from tokenizers import Tokenizer
from torch import nn

from armt.core.config import Config
from armt.core.errors import ArmtError, BackboneError, ConfigError, DataError, StateError
from armt.core.files import write_text
from armt.core.shapes import Tensor
from armt.core.state import State
from armt.recurrence.auto import load_recurrent
from armt.recurrence.model import Recurrent
from armt.recurrence.reading import ReadingProgress
from armt.recurrence.state import RecurrentState
from armt.tasks.encoder import TokenizerEncoder

FORM_NAME = "reading.json"
"""The file of a model's folder that holds its `ReadingForm`."""

TOKENIZER_NAME = "tokenizer.json"
"""The file of a model's folder that holds its tokenizer."""


@dataclass(frozen=True, kw_only=True)
class ReadingForm(Config):
    """How the texts and questions looked that a model was trained on."""

    use_single_blanks: bool = False
    """Whether every stretch of white space is one blank, and a text begins with one."""

    has_answer_token: bool = False
    """Whether a question ends in a blank and the token `GEN`."""

    max_answer_len: int = 64
    """Tokens of an answer, at most."""


FACTS_FORM = ReadingForm(use_single_blanks=True, has_answer_token=True, max_answer_len=10)
"""Of models trained on facts in running text."""


@dataclass(frozen=True)
class BoxedModel:
    """A recurrent model with all it needs to read and answer."""

    model: Recurrent
    encoder: TokenizerEncoder
    form: ReadingForm

    half: Recurrent | None = None
    """The same model in bfloat16, if this processor is faster in it; it only reads."""

    def read(
        self,
        source: Iterable[Any],
        state: RecurrentState | None = None,
        *,
        on_progress: Callable[[ReadingProgress], None] | None = None,
    ) -> RecurrentState:
        """Reads token ids as `Recurrent.read` does, on a CPU in the precision that it is fast in.

        The states are in single precision and belong to `model` whichever way they were read.

        Raises:
            DataError: the rows do not fit the state.
            StateError: the memory is no longer finite, or the state is of another one.
        """
        if self.half is None or self.model.device.type != "cpu":
            return self.model.read(source, state, on_progress=on_progress)
        start = state
        if state is not None:
            self.model.memory.check_states(state.layers)
            start = _in_precision_of(self.half, state)
        try:
            after = self.half.read(source, start, on_progress=on_progress)
        except StateError as error:
            if error.state is not None:
                error.state = _in_precision_of(self.model, error.state)
            raise
        if state is not None and torch.equal(after.num_tokens, state.num_tokens):
            return state  # an empty text changes nothing, not even digits
        return _in_precision_of(self.model, after)

    def encode_text(self, text: str) -> list[int]:
        """Returns the tokens of a piece of text in the form that the model knows."""
        if self.form.use_single_blanks:
            words = text.split()
            return self.encoder.encode(" " + " ".join(words)) if words else []
        return self.encoder.encode(text)

    def encode_question(self, question: str) -> list[int]:
        """Returns the tokens of a question, and of what asks for an answer.

        Raises:
            DataError: the question is empty.
        """
        if not question.strip():
            raise DataError("The question is empty. Ask one such as 'Where is Mary?'.")
        if self.form.has_answer_token:
            asked = self.encoder.encode(" ".join(question.split()) + " ")
            return [*asked, self.encoder.gen_id]
        return self.encoder.encode(question)


def save_boxed(folder: str | os.PathLike[str], boxed: BoxedModel) -> None:
    """Writes model, tokenizer and form to a folder; the form last.

    Raises:
        StorageError: the disk is full or refuses a file.
    """
    boxed.model.save_pretrained(folder)
    write_text(Path(folder) / TOKENIZER_NAME, boxed.encoder.tokenizer.to_str())
    write_text(Path(folder) / FORM_NAME, json.dumps(boxed.form.to_dict(), indent=2) + "\n")


def load_boxed(folder: str | os.PathLike[str]) -> BoxedModel:
    """Returns the model in `folder`, ready to read; it runs on the CPU until it is moved.

    Weights are held in single precision, whatever they are kept in: processors without
    half-precision units are far slower in it. On one that has such units (AMX), texts are read in
    bfloat16, if it holds every weight exactly.
    Nothing is downloaded and no code of the folder is run. A folder without a form is read as plain
    text.

    Raises:
        BackboneError: there is no such folder, or it holds no recurrent model or no tokenizer.
    """
    path = Path(folder)
    _check_files(path)
    try:
        model: object = load_recurrent(path, local_files_only=True, dtype=torch.float32)
        encoder = TokenizerEncoder(Tokenizer.from_file(str(path / TOKENIZER_NAME)))
        form = _load_form(path / FORM_NAME)
    except ArmtError:
        raise
    except Exception as error:
        raise BackboneError(
            f"The model in '{folder}' cannot be loaded: {error}. Copy or train it anew."
        ) from error
    if not isinstance(model, Recurrent):
        raise BackboneError(
            f"The model in '{folder}' is a {type(model).__name__} without a memory. Give a folder "
            "that `armt train` wrote a model to."
        )
    half = _half(model) if has_half_units() and _fits_half(model) else None
    return BoxedModel(model.eval(), encoder, form, half)


def _check_files(folder: Path) -> None:
    if not (folder / "config.json").is_file():
        raise BackboneError(
            f"No recurrent model in '{folder}': it has no file 'config.json'. Give a folder that "
            "`armt train` wrote a model to."
        )
    if not (folder / TOKENIZER_NAME).is_file():
        raise BackboneError(
            f"'{folder}' holds a model but no tokenizer (no file '{TOKENIZER_NAME}'), so it cannot "
            "read text. If its recipe has no text, train one that has; if the model is your own, "
            f"save its tokenizer beside it: tokenizer.save_pretrained('{folder}')."
        )


def has_half_units() -> bool:
    """Whether this processor has units for products of matrices in bfloat16.

    Vector instructions for bfloat16 alone are no faster than single precision.
    """
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("amx_bf16", False))


def _fits_half(model: Recurrent) -> bool:
    return all(torch.equal(each, each.bfloat16().to(each.dtype)) for each in _weights(model))


def _half(model: Recurrent) -> Recurrent:
    """Returns a copy whose weights are in bfloat16; rotary frequencies keep their digits."""
    half = copy.deepcopy(model)
    for weight in _weights(half):
        weight.data = weight.data.bfloat16()
    return half


def _in_precision_of(model: Recurrent, state: RecurrentState) -> RecurrentState:
    """Returns the state in the precision that `model` itself has it in.

    Most memories keep single precision in a half model as well; those made of hidden states do not.
    """
    pairs = zip(state.layers, model.memory.init_states(1), strict=True)
    return state.with_layers(tuple(_cast(layer, fresh.tensors()) for layer, fresh in pairs))


def _cast(state: State, like: Mapping[str, Tensor]) -> State:
    tensors = state.tensors().items()
    return state.from_tensors({name: value.to(like[name].dtype) for name, value in tensors})


def _weights(model: nn.Module) -> list[nn.Parameter]:
    return list(model.parameters())


def _load_form(path: Path) -> ReadingForm:
    if not path.exists():
        return ReadingForm()
    options: Any = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(options, dict):
        raise ConfigError(f"'{path}' is no form of reading. Copy the model anew.")
    return ReadingForm.from_dict(cast("dict[str, Any]", options))
