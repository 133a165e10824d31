"""What a caller gives to a model with a memory, checked before anything runs."""

from collections.abc import Mapping
from typing import Any

import torch
from transformers import GenerationConfig

from armt.backbones.huggingface import CACHE_NAMES
from armt.core.errors import ArmtError, DataError
from armt.core.shapes import Float, Int, Tensor
from armt.recurrence.decoding import RecurrentCache
from armt.recurrence.loss import Labels

_OWN_OPTIONS = frozenset({"carry_len", "label_start", "num_items_in_batch"})
_SET_BY_THE_RECURRENCE = frozenset(
    {"cache_position", "position_ids", "return_dict", "token_type_ids", "use_cache"}
)
_NOT_GENERATED_WITH = (
    *("assistant_model", "prompt_lookup_num_tokens", "cache_implementation", "guidance_scale"),
    *("output_attentions", "output_hidden_states"),
)
"""Options of generation that need another cache, a second reading, or more than logits."""


def taken_cache(options: dict[str, Any]) -> object:
    """Takes the cache out of a call's options, under whatever name it was given."""
    given = [options.pop(name, None) for name in CACHE_NAMES]
    return next((each for each in given if each is not None), None)


def checked_ids(input_ids: Tensor | None, cache: object, options: Mapping[str, Any]) -> Tensor:
    """Returns the ids of a call; refuses what a recurrence would have to leave out silently.

    During generation transformers has checked the options already.

    Raises:
        DataError: there are no ids, or something was given besides that would have no effect.
    """
    asked = {name for name, value in options.items() if value is not None and value is not False}
    if input_ids is None or "inputs_embeds" in asked:
        raise DataError("A recurrence reads token ids. Give `input_ids`, not embeddings.")
    input_ids = _long("input_ids", input_ids)
    if isinstance(cache, RecurrentCache):
        return input_ids
    if cache is not None:
        raise DataError(f"A recurrence cannot go on from a {type(cache).__name__}. Give `state=`.")
    unknown = sorted(asked - _OWN_OPTIONS - _SET_BY_THE_RECURRENCE)
    if unknown:
        raise DataError(
            f"A recurrence cannot do what these options ask for: {', '.join(unknown)}. Leave them "
            "out."
        )
    return input_ids


def checked_labels(
    ids: Int[Tensor, "B T"],
    labels: Int[Tensor, "B T"],
    weights: Float[Tensor, "B T"] | None,
    options: Mapping[str, Any],
) -> Labels:
    """Returns the labels of a call with what is said about them.

    Raises:
        DataError: they do not stand at the tokens, or are no whole numbers.
    """
    labels = _long("labels", labels)
    for name, given in (("labels", labels), ("loss_weights", weights)):
        if given is not None and given.shape != ids.shape:
            raise DataError(
                f"`{name}` stand at the tokens, whose shape is {tuple(ids.shape)}. Got "
                f"{tuple(given.shape)}. The shift is done here."
            )
    return Labels(labels, weights, options.get("label_start"), options.get("num_items_in_batch"))


def checked_prompt(
    inputs: Tensor | None,
    options: Mapping[str, Any],
    *configs: GenerationConfig | None,
) -> Int[Tensor, "B T"]:
    """Returns the prompt; refuses what cannot be generated through a memory.

    Args:
        inputs: the prompt, if it is not among the options.
        options: the options of the call.
        *configs: where transformers looks for options that the call does not give, in this order.

    Raises:
        ArmtError: an option asks for it.
        DataError: there is no prompt.
    """
    prompt = inputs if inputs is not None else options.get("input_ids")
    if not isinstance(prompt, Tensor) or prompt.dim() != 2 or prompt.shape[1] == 0:
        found = f"ids of shape {tuple(prompt.shape)}" if isinstance(prompt, Tensor) else prompt
        found = "none" if found is None else found
        raise DataError(
            f"Generation needs a prompt of at least one token for each row. Got {found}."
        )
    given = [options, *(vars(config) for config in configs if config is not None)]
    for name in (*CACHE_NAMES, *_NOT_GENERATED_WITH):
        value = next((each[name] for each in given if each.get(name) is not None), None)
        is_asked = value is not None and value is not False
        if is_asked and (name, value) != ("guidance_scale", 1):
            raise ArmtError(f"A recurrent memory generates without `{name}`. Leave it out.")
    return prompt


def _long(name: str, ids: object) -> Tensor:
    """Returns ids as states and files keep them.

    Raises:
        DataError: they are no whole numbers.
    """
    is_tensor = isinstance(ids, Tensor)
    if not is_tensor or ids.is_floating_point() or ids.dtype == torch.bool:
        found = ids.dtype if is_tensor else f"a {type(ids).__name__}"
        raise DataError(f"`{name}` must be a tensor of whole numbers. Got {found}.")
    return ids.long()
