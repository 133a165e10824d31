"""What the library needs to know of a Hugging Face encoder that classifies texts."""

from typing import Any, NamedTuple, cast

import torch
from torch import nn
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, PreTrainedModel

from armt.backbones.huggingface import Anatomy, anatomy_of
from armt.backbones.modes import evaluation_mode
from armt.core.errors import BackboneError, ConfigError

TESTED_ENCODERS = frozenset({"bert", "distilbert", "electra"})
"""Model types that the test suite gives a memory to; others are checked in the same way."""


class SpecialTokens(NamedTuple):
    """Ids of the tokens that an encoder expects around a text."""

    start_id: int
    """Where the classifying head looks: `[CLS]`."""

    separator_id: int
    """Ends a part of the input: `[SEP]`."""

    pad_id: int
    """Fills up a shorter row."""

    @classmethod
    def of(cls, tokenizer: object) -> "SpecialTokens":
        """Returns those of a tokenizer of transformers.

        Raises:
            ConfigError: it has not all of them.
        """
        names = ("cls_token_id", "sep_token_id", "pad_token_id")
        found = {name: getattr(tokenizer, name, None) for name in names}
        missing = [name for name, value in found.items() if value is None]
        if missing:
            raise ConfigError(
                f"{type(tokenizer).__name__} has no {', '.join(missing)}. Give `SpecialTokens`."
            )
        return cls(*(int(cast("int", value)) for value in found.values()))


def examine_encoder(model: PreTrainedModel) -> Anatomy:
    """Returns the parts of `model`; its decoder is the encoder without the classifying head.

    Raises:
        BackboneError: it classifies no texts, or its attention sees one side only.
    """
    name = type(model).__name__
    if type(model) not in _classifiers(model):
        raise BackboneError(
            f"{name} does not classify texts. Load an encoder with "
            "AutoModelForSequenceClassification."
        )
    body: nn.Module = model.base_model
    anatomy = anatomy_of(model, body)
    if not _sees_both_sides(model, body):
        raise BackboneError(
            f"{name} sees what stands before a token only. Load it with AutoModelForCausalLM and "
            "call armt.attach."
        )
    return anatomy


def _classifiers(model: PreTrainedModel) -> tuple[type, ...]:
    kind = type(model.config)
    if kind not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        return ()
    found: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING[kind]
    return cast("tuple[type, ...]", found if isinstance(found, tuple) else (found,))


@torch.no_grad()
def _sees_both_sides(model: PreTrainedModel, body: nn.Module) -> bool:
    device = next(model.parameters()).device
    vocab_size = int(model.config.get_text_config().vocab_size)
    ids = torch.arange(8, device=device).unsqueeze(0) % vocab_size
    changed = ids.clone()
    changed[:, -1] = (changed[:, -1] + 1) % vocab_size
    with evaluation_mode(model):
        first, second = (cast("Any", body)(input_ids=each)[0][:, 0] for each in (ids, changed))
    return not torch.equal(first, second)
