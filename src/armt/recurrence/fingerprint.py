"""Short hashes by which a file knows the model and the tokenizer it belongs to."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from transformers import PreTrainedModel

from armt.core.errors import DataError
from armt.core.shapes import Tensor
from armt.recurrence.model import Recurrent
from armt.recurrence.tensor_file import tensor_bytes

MEMORY_PREFIX = "memory."
"""Names of what is learned beside the backbone begin so."""

NO_HASH = "none"
"""Stands for the hash of something that is not there."""

_WHOLE_LEN = 4096
_NUM_SAMPLES = 32
_SAMPLE_LEN = 64

# Settings that say how a model is stored or called, not what it computes.
_VOLATILE = re.compile(
    r"^_|_token_id$|^(transformers_version|dtype|torch_dtype|architectures|auto_map|id2label|label2id"
    r"|problem_type|num_labels|return_dict|output_.*|use_cache|name_or_path|tie_word_embeddings"
    r"|.*dropout|.*_pdrop|pretraining_tp)$"
)

# Where an adapter stands around a module, the module itself has one of these names.
_WRAPPED = re.compile(r"\.(base_layer|original_module)(?=\.)")


def model_fingerprint(model: Recurrent) -> dict[str, str]:
    """Returns what a state depends on: hashes of backbone, adapter and memory.

    Keys are those of `backbone_fingerprint`, and `memory_weights`, for which all values are hashed.
    """
    weights = _Digest()
    for name, value in sorted(model.memory.state_dict().items()):
        weights.add_tensor(name, cast("Tensor", value))
    return backbone_fingerprint(model) | {"memory_weights": weights.text}


def backbone_fingerprint(model: PreTrainedModel) -> dict[str, str]:
    """Returns hashes of a model without its memory.

    Of every large tensor 2048 values are hashed, 32 stretches of 64 from its start to its end; a
    change that misses all of them is not seen. The keys:

    * `backbone_config`: options that differ from the defaults of their class and change what is
      computed, so that a newer transformers with more options gives the same hash.
    * `backbone_weights`: names, shapes, dtypes and values.
    * `backbone_values`: names, shapes and values rounded to bfloat16: the same for a model that was
      loaded in another precision.
    * `adapter`: weights around the backbone's own (LoRA and the like), whole, and which of them
      reads and which writes; `none` without any.
    """
    # as variables: of weights that stand side by side a model else hands out copies
    own, adapter = _split_adapter(model.state_dict(keep_vars=True))
    weights, values, around = _Digest(), _Digest(), _Digest()
    for name, value in sorted(own.items()):
        sample = _sample(value.detach())
        _ = weights.add(f"{name} {tuple(value.shape)} {value.dtype}".encode(), tensor_bytes(sample))
        rounded = sample.to(torch.bfloat16) if sample.is_floating_point() else sample
        _ = values.add(f"{name} {tuple(value.shape)}".encode(), tensor_bytes(rounded))
    for name, value in sorted(adapter.items()):
        around.add_tensor(name, value.detach())
    roles = getattr(model, "adapters", None)
    if roles is not None:
        _ = around.add(*(name.encode() for name in roles))
    return {
        "backbone_config": _config_hash(model),
        "backbone_weights": weights.text,
        "backbone_values": values.text,
        "adapter": around.text if adapter else NO_HASH,
    }


def tokenizer_hash(tokenizer: object | None) -> str | None:
    """Returns a hash of what a tokenizer makes of a text, or none without a tokenizer.

    Padding and truncation, which change with every call, do not count.

    Args:
        tokenizer: of the library tokenizers or of transformers.

    Raises:
        DataError: it tells neither its pipeline nor its vocabulary.
    """
    if tokenizer is None:
        return None
    pipeline: Any = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(pipeline, "to_str"):
        told = cast("dict[str, Any]", json.loads(pipeline.to_str()))
        for name in ("padding", "truncation", "version"):
            _ = told.pop(name, None)
    elif hasattr(tokenizer, "get_vocab"):
        told = cast("dict[str, Any]", cast("Any", tokenizer).get_vocab())
    else:
        raise DataError(
            f"{type(tokenizer).__name__} tells neither its pipeline nor its vocabulary. Give a "
            "tokenizer of transformers or tokenizers."
        )
    return _Digest().add(json.dumps(told, sort_keys=True).encode()).text


class _Digest:
    """A hash of parts that cannot run into one another."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=8)

    def add(self, *parts: bytes | memoryview) -> "_Digest":
        for part in parts:
            self._hash.update(len(part).to_bytes(8, "little"))
            self._hash.update(part)
        return self

    def add_tensor(self, name: str, value: Tensor) -> None:
        _ = self.add(f"{name} {tuple(value.shape)} {value.dtype}".encode(), tensor_bytes(value))

    @property
    def text(self) -> str:
        return self._hash.hexdigest()


def _sample(value: Tensor) -> Tensor:
    """Returns all values of a small tensor, and of a large one stretches from start to end."""
    flat = value.detach().reshape(-1)
    if len(flat) <= _WHOLE_LEN:
        return flat
    last = len(flat) - _SAMPLE_LEN
    starts = torch.tensor([last * index // (_NUM_SAMPLES - 1) for index in range(_NUM_SAMPLES)])
    places = starts.unsqueeze(1) + torch.arange(_SAMPLE_LEN)
    return flat[places.flatten().to(flat.device)]


def _split_adapter(tensors: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Returns the backbone's own tensors under their own names, and those of an adapter."""
    names = [name for name in tensors if not name.startswith(MEMORY_PREFIX)]
    wrappers = {name[: found.start()] for name in names if (found := _WRAPPED.search(name))}
    own: dict[str, Tensor] = {}
    adapter: dict[str, Tensor] = {}
    for name in names:
        if _WRAPPED.search(name):
            own[_WRAPPED.sub("", name)] = tensors[name]
        elif any(name.startswith(f"{wrapper}.") for wrapper in wrappers):
            adapter[name] = tensors[name]
        else:
            own[name] = tensors[name]
    return own, adapter


def _config_hash(model: PreTrainedModel) -> str:
    config = cast("Any", model.config).get_text_config()
    options = cast("dict[str, Any]", config.to_dict())
    try:
        defaults = cast("dict[str, Any]", type(config)().to_dict())
    except (TypeError, ValueError):  # a class that cannot be made without options
        defaults = {}
    told = {
        name: value
        for name, value in options.items()
        if not _VOLATILE.search(name) and (name not in defaults or defaults[name] != value)
    }
    told["model_type"] = config.model_type
    return _Digest().add(json.dumps(told, sort_keys=True, default=str).encode()).text
