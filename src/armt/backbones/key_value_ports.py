"""Opens the attention of a model's layers to memories of keys and values, or says why not."""

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel

from armt.backbones.attach import open_ports
from armt.backbones.attention import KeyValuePort, open_attention
from armt.backbones.attention_probe import probe_attention
from armt.backbones.huggingface import Anatomy
from armt.backbones.rotation import Rotation, make_rotations
from armt.core.contract import KeyValueMemory


def open_key_value_ports(
    model: PreTrainedModel,
    anatomy: Anatomy,
    memories: Sequence[KeyValueMemory[Any]],
    num_positions: int,
) -> list[Rotation]:
    """Puts each memory inside the attention of its layer; returns how the layers rotate.

    Args:
        model: a model whose layers have no ports yet; if it is refused it stays as it was.
        anatomy: its parts.
        memories: one for each layer.
        num_positions: positions of a segment with its memory tokens.

    Raises:
        BackboneError: the attention of a layer cannot carry a memory, or carries one already.
    """
    before = open_attention(model)
    try:
        angles = probe_attention(model, anatomy)
        ports = [KeyValuePort(memory) for memory in memories]
        open_ports(anatomy.layers, ports)
    except BaseException:
        model.set_attn_implementation(before)
        raise
    first = -max(memory.num_positions_before for memory in memories)
    rotations = make_rotations(anatomy, angles, range(first, num_positions))
    for port, rotation in zip(ports, rotations, strict=True):
        port.rotation = rotation
    return rotations
