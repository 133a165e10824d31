"""The memory alone: saved beside its backbone, believed only where a digest stands behind it."""

import json
import shutil

import pytest
import torch

from armt import ARMTConfig, NoMemoryConfig, Recurrent
from armt.core.errors import ArmtError, BackboneError
from armt.recurrence.pretrained import MEMORY_FILE, load_memory
from armt.recurrence.tensor_file import read_tensors, write_tensors
from tiny import VOCAB, assert_same_model, backbone, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)


@pytest.mark.parametrize("memory", [MEMORY, NoMemoryConfig()])
def test_the_memory_alone(tmp_path, memory):
    model = recurrent(memory, bptt_depth=2)
    model.save_memory(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"memory.safetensors", "memory_config.json"}
    loaded = load_memory(backbone(), tmp_path)
    assert_same_model(loaded, model)
    assert loaded.recurrence == model.recurrence


def test_the_memory_on_the_backbone_in_another_precision(tmp_path):
    recurrent(MEMORY).float().save_memory(tmp_path)
    loaded = load_memory(backbone().float().bfloat16(), tmp_path)
    assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
    assert loaded(random_ids(1, 9)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: backbone(seed=1), r"backbone_values: expected \w+, found \w+"),
        (lambda: backbone(rms_norm_eps=0.5), r"backbone_config: expected \w+, found \w+"),
        (lambda: backbone("qwen2"), "model_type: expected llama, found qwen2"),
        (lambda: backbone(vocab_size=VOCAB + 1), "backbone_values"),
    ],
)
def test_the_memory_of_another_backbone(tmp_path, make, reason):
    recurrent(MEMORY).save_memory(tmp_path)
    other = make()
    with pytest.raises(BackboneError, match=f"trained on another backbone.*{reason}"):
        _ = load_memory(other, tmp_path)
    assert not isinstance(other, Recurrent)


def test_a_damaged_memory(tmp_path):
    recurrent(MEMORY).save_memory(tmp_path)
    path = tmp_path / "memory.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    _ = path.write_bytes(data)
    with pytest.raises(BackboneError, match=r"memory file '.*' is damaged: tensor '"):
        _ = load_memory(backbone(), tmp_path)
    path.unlink()
    with pytest.raises(BackboneError, match="No memory file at"):
        _ = load_memory(backbone(), tmp_path)


def test_memory_files_of_different_saves(tmp_path):
    recurrent(MEMORY).save_memory(tmp_path / "one")
    recurrent(MEMORY, seed=1).save_memory(tmp_path / "two")
    _ = shutil.copy(tmp_path / "two" / "memory.safetensors", tmp_path / "one")
    with pytest.raises(BackboneError, match=r"different saves: expected digest \w+, found \w+"):
        _ = load_memory(backbone(), tmp_path / "one")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "Cannot read"),
        ("{}", "expected the fields base, memory"),
        ("3", "expected the fields"),
    ],
)
def test_a_damaged_memory_config(tmp_path, text, reason):
    recurrent(MEMORY).save_memory(tmp_path)
    _ = (tmp_path / "memory_config.json").write_text(text)
    with pytest.raises(BackboneError, match=reason):
        _ = load_memory(backbone(), tmp_path)


def changed(description: dict, path: str, value: object) -> dict:
    *parents, last = path.split(".")
    inner = description
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return description


EDITS = {
    "memory": [],
    "memory.name": "rmt",
    "memory.options.nu": 1,
    "recurrence": {},
    "recurrence.segment_len": 9,
    "base": "x",
    "base.dtype": "float32",
    "base.backbone_values": "0" * 16,
    "more": 1,
}


@pytest.mark.parametrize("path", EDITS)
def test_a_memory_config_that_was_changed(tmp_path, path):
    recurrent(MEMORY).save_memory(tmp_path)
    file, base = tmp_path / "memory_config.json", backbone()
    description = changed(json.loads(file.read_text()), path, EDITS[path])
    _ = file.write_text(json.dumps(description))
    with pytest.raises(
        BackboneError, match=rf"do not agree; {path}[.\w]*: expected .*, found .*\."
    ):
        _ = load_memory(base, tmp_path)
    assert not isinstance(base, Recurrent)


@pytest.mark.parametrize(
    ("path", "value", "reason"),
    [
        ("memory", [], "its header lacks"),
        ("memory", {}, "Unknown memory 'None'"),
        ("memory.options", 3, "ARMTConfig is made of options by name. Got 3"),
        ("memory.options.nu", [1], "must be int"),
        ("recurrence", None, "its header lacks"),
        ("recurrence", {}, "RecurrenceConfig needs `segment_len`"),
        ("base", "x", "its header lacks"),
        ("base", {}, "its header lacks"),
    ],
)
def test_a_memory_file_whose_header_cannot_be_used(tmp_path, path, value, reason):
    recurrent(MEMORY).save_memory(tmp_path)
    file, base = read_tensors(tmp_path / "memory.safetensors", MEMORY_FILE), backbone()
    header = changed(file.header, path, value)
    digest = write_tensors(tmp_path / "memory.safetensors", MEMORY_FILE, header, file.tensors)
    text = json.dumps(header | {"weights_digest": digest})
    _ = (tmp_path / "memory_config.json").write_text(text)
    with pytest.raises(ArmtError, match=reason):
        _ = load_memory(base, tmp_path)
    assert not isinstance(base, Recurrent)


def test_a_folder_without_memory(tmp_path):
    with pytest.raises(BackboneError, match=r"No saved memory in '.*': no memory_config\.json"):
        _ = load_memory(backbone(), tmp_path)
