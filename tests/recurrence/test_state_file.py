"""State files: exact when all is well, refused with the reason when anything is not."""

import errno
import json
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models

import armt.recurrence.state_file as state_file
from armt import ARMTConfig, NoMemoryConfig, Recurrent, RecurrentState
from armt.core.errors import StateError, StateFileError, StorageError
from armt.recurrence.state_file import Source, load_state, read_header, save_state
from armt.recurrence.tensor_file import write_tensors
from tiny import assert_same_state, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
NAME = "reading.safetensors"


@pytest.fixture(scope="module")
def model() -> Recurrent:
    return recurrent(MEMORY)


@pytest.fixture(scope="module")
def state(model) -> RecurrentState:
    return model.read(random_ids(1, 10))


@pytest.fixture
def saved(tmp_path, model, state) -> Path:
    path = tmp_path / NAME
    save_state(path, state, model)
    return path


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def tokenizer(words: str) -> Tokenizer:
    vocabulary = {word: number for number, word in enumerate(words.split())}
    return Tokenizer(models.WordLevel(vocabulary, "a"))


def write_raw(path, tensors, content) -> None:
    """Writes a file whose digests hold, whatever is in it."""
    _ = write_tensors(path, state_file.STATE_FILE, content, tensors)


def content_of(path) -> dict:
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["armt"])["content"]


def ragged(model) -> RecurrentState:
    """Three rows of 5, 8 and 11 tokens: 1, 0 and 3 of them pending."""
    lengths = torch.tensor([5, 8, 11])
    mask = torch.arange(11) < lengths.unsqueeze(1)
    return model(random_ids(3, 11), attention_mask=mask.long()).state.detach()


def test_what_is_loaded_is_what_was_saved(saved, model, state):
    assert_same_state(load_state(saved, model), state)


@pytest.mark.parametrize("stop", [0, 3, 4, 10])
@pytest.mark.parametrize("memory", [MEMORY, ARMTConfig.published(d_mem=4), NoMemoryConfig()])
def test_going_on_from_a_file_is_reading_without_a_stop(tmp_path, memory, stop):
    model = recurrent(memory)
    ids, question = random_ids(2, 17), random_ids(2, 6, seed=2)
    whole = model.read(ids)
    first = model.read(ids[:, :stop], model.init_state(2))
    save_state(tmp_path / NAME, first, model)
    resumed = model.read(ids[:, stop:], load_state(tmp_path / NAME, model))
    assert_same_state(resumed, whole)
    found, expected = (model(question, state=each).logits for each in (resumed, whole))
    assert torch.equal(found, expected)


def test_rows_that_stand_at_different_places(tmp_path, model):
    state = ragged(model)
    assert state.num_pending.tolist() == [1, 0, 3]
    save_state(tmp_path / NAME, state, model)
    loaded = load_state(tmp_path / NAME, model)
    assert_same_state(loaded, state)
    ids = random_ids(3, 7, seed=3)
    assert torch.equal(model(ids, state=loaded).logits, model(ids, state=state).logits)
    assert read_header(tmp_path / NAME).num_tokens == (5, 8, 11)


def test_bfloat16(tmp_path):
    model = recurrent(MEMORY).bfloat16()
    state = model.read(random_ids(2, 10))
    save_state(tmp_path / NAME, state, model)
    loaded = load_state(tmp_path / NAME, model)
    assert_same_state(loaded, state)
    assert [v.dtype for v in loaded.layers[0].tensors().values()] == [torch.float32] * 2
    assert read_header(tmp_path / NAME).dtype == "bfloat16"


def test_the_header_tells_what_was_read(tmp_path, model, state):
    sources = [Source("one.txt", 12), Source("two.txt", 7)]
    save_state(tmp_path / NAME, state, model, sources=sources)
    header = read_header(tmp_path / NAME)
    assert (header.memory, header.memory_options) == ("armt", MEMORY.to_dict())
    assert (header.backbone, header.dtype, header.segment_len) == ("llama", "float64", 4)
    assert (header.num_rows, header.num_tokens) == (1, (10,))
    assert header.sources == tuple(sources)
    assert header.tokenizer is None


def test_a_missing_file(tmp_path, model):
    path = tmp_path / "no.safetensors"
    for call in (lambda: load_state(path, model), lambda: read_header(path)):
        with pytest.raises(StateFileError, match=r"^No state file at '.*no\.safetensors'"):
            _ = call()


def test_a_folder_is_no_file(tmp_path, model):
    with pytest.raises(StateFileError, match="Cannot read the state file"):
        _ = load_state(tmp_path, model)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "it is empty"),
        (b"hello", "is no safetensors file"),
        (b"\xff" * 400, "is no safetensors file"),
        (pickle.dumps({"weights": [1, 2]}), "is a pickle or an archive, which could run code"),
        (b"PK\x03\x04" + bytes(100), "is a pickle or an archive, which could run code"),
        ((50).to_bytes(8, "little") + b"{" + b"[" * 49, "its header cannot be parsed"),
        ((2).to_bytes(8, "little") + b"{}", "is a safetensors file of something else"),
        ((10**9).to_bytes(8, "little") + b"{}", "is no safetensors file"),
    ],
    ids=["empty", "text", "noise", "pickle", "zip", "broken", "bare", "giant"],
)
def test_files_of_something_else(tmp_path, model, data, reason):
    path = tmp_path / NAME
    _ = path.write_bytes(data)
    for call in (lambda: load_state(path, model), lambda: read_header(path)):
        with pytest.raises(StateFileError, match=reason):
            _ = call()


@pytest.mark.parametrize("name", ["state.pt", "state.bin", "state.PKL"])
def test_names_of_pickles_are_refused(tmp_path, model, state, saved, name):
    with pytest.raises(StateFileError, match="has the name of a pickle"):
        save_state(tmp_path / name, state, model)
    _ = shutil.copy(saved, tmp_path / name)
    with pytest.raises(StateFileError, match="has the name of a pickle"):
        _ = load_state(tmp_path / name, model)


def test_other_safetensors_files(tmp_path, model, saved):
    path = tmp_path / "weights.safetensors"
    save_file({"weight": torch.ones(2)}, path, metadata={"format": "pt"})
    with pytest.raises(StateFileError, match="a safetensors file of something else"):
        _ = load_state(path, model)
    model.save_memory(tmp_path)
    with pytest.raises(StateFileError, match="calls itself 'armt-memory' and no state file"):
        _ = load_state(tmp_path / "memory.safetensors", model)


def test_every_truncation(saved, model):
    data = saved.read_bytes()
    for length in [*range(0, len(data) - 1, 97), len(data) - 1]:
        _ = saved.write_bytes(data[:length])
        with pytest.raises(StateFileError, match=r"damaged|no safetensors file"):
            _ = load_state(saved, model)


def test_bytes_behind_the_end(saved, model):
    _ = saved.write_bytes(saved.read_bytes() + b"x")
    with pytest.raises(StateFileError, match="damaged: its layout does not hold"):
        _ = load_state(saved, model)


@pytest.mark.parametrize("mask", [0x01, 0x20, 0x80])
def test_every_flipped_byte(saved, model, mask):
    data = bytearray(saved.read_bytes())
    for place in [*range(16), *range(16, len(data), 41), len(data) - 1]:
        data[place] ^= mask
        _ = saved.write_bytes(data)
        with pytest.raises(StateFileError):
            _ = load_state(saved, model)
        data[place] ^= mask
    _ = saved.write_bytes(data)
    _ = load_state(saved, model)


def test_a_flipped_bit_in_the_data_names_the_tensor(saved, model):
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    _ = saved.write_bytes(data)
    with pytest.raises(StateFileError, match=r"tensor '.*': expected digest \w+, found \w+"):
        _ = load_state(saved, model)


def test_a_newer_format(tmp_path, monkeypatch, model, state):
    kind = state_file.STATE_FILE
    newer = type(kind)(noun=kind.noun, format=kind.format, version=2, error=kind.error)
    with monkeypatch.context() as patch:
        patch.setattr(state_file, "STATE_FILE", newer)
        save_state(tmp_path / NAME, state, model)
    with pytest.raises(StateFileError, match=r"has format version 2, .* up to 1\. Install a newer"):
        _ = load_state(tmp_path / NAME, model)


OTHERS = {
    "weights of the backbone": (lambda: recurrent(MEMORY, seed=1), "backbone_weights"),
    "settings of the backbone": (
        lambda: recurrent(MEMORY, rms_norm_eps=0.5),
        "backbone_config",
    ),
    "kind of backbone": (
        lambda: recurrent(MEMORY, "qwen2"),
        "backbone: expected qwen2, found llama",
    ),
    "precision": (lambda: recurrent(MEMORY).float(), "dtype: expected float32, found float64"),
    "segment": (lambda: recurrent(MEMORY, segment_len=5), "segment_len: expected 5, found 4"),
    "memory": (lambda: recurrent(NoMemoryConfig()), "memory: expected none, found armt"),
    "options of the memory": (
        lambda: recurrent(ARMTConfig(num_memory_tokens=2, d_mem=8)),
        "memory_options.d_mem: expected 8, found 4",
    ),
}


@pytest.mark.parametrize("other", OTHERS)
def test_another_model(saved, other):
    make, reason = OTHERS[other]
    with pytest.raises(StateFileError) as caught:
        _ = load_state(saved, make())
    message = str(caught.value)
    assert reason in message
    assert "\n" not in message
    assert "Load it with what wrote it" in message


def overlapping(overlap_len: int) -> Recurrent:
    model = recurrent(MEMORY)
    model.recurrence = replace(model.recurrence, overlap_len=overlap_len)
    return model


@pytest.mark.parametrize(("written", "asked"), [(2, 0), (0, 2), (2, 1)])
def test_another_overlap(tmp_path, written, asked):
    model = overlapping(written)
    save_state(tmp_path / NAME, model.read(random_ids(1, 10)), model)
    assert read_header(tmp_path / NAME).overlap_len == written
    reason = f"overlap_len: expected {asked}, found {written}"
    with pytest.raises(StateFileError, match=reason):
        _ = load_state(tmp_path / NAME, overlapping(asked))


def test_going_on_from_a_file_with_an_overlap(tmp_path):
    model, ids = overlapping(2), random_ids(2, 17)
    save_state(tmp_path / NAME, model.read(ids[:, :9]), model)
    assert_same_state(model.read(ids[:, 9:], load_state(tmp_path / NAME, model)), model.read(ids))


def test_a_file_from_before_there_were_overlaps(saved, model, state):
    content = content_of(saved)
    del content["overlap_len"]
    write_raw(saved, load_file(saved), content)
    assert_same_state(load_state(saved, model), state)
    with pytest.raises(StateFileError, match="overlap_len: expected 2, found 0"):
        _ = load_state(saved, overlapping(2))


@torch.no_grad()
def test_other_weights_of_the_memory(saved):
    model = recurrent(MEMORY)
    _ = model.memory.mechanisms[1].to_key.weight[0, 0].add_(1e-6)
    with pytest.raises(StateFileError, match=r"memory_weights: expected \w+, found \w+\. Load"):
        _ = load_state(saved, model)


def test_another_tokenizer(tmp_path, model, state):
    path = tmp_path / NAME
    save_state(path, state, model, tokenizer=tokenizer("a b"))
    assert_same_state(load_state(path, model, tokenizer=tokenizer("a b")), state)
    assert_same_state(load_state(path, model), state)
    with pytest.raises(StateFileError, match=r"; tokenizer: expected \w+, found \w+\. "):
        _ = load_state(path, model, tokenizer=tokenizer("b a"))


def drop(name):
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def put(name, change):
    return lambda tensors: tensors | {name: change(tensors[name])}


LAYER = "layers.1.association"
FORGERIES = {
    "missing layer": (drop(LAYER), "no tensor 'layers.1.association'"),
    "missing position": (drop("pending"), "no tensor 'pending'"),
    "shape": (put(LAYER, lambda x: x[..., :-1].contiguous()), "'layers.1.association': expected"),
    "dtype": (put(LAYER, lambda x: x.half()), "expected float64 .*, found float16"),
    "rows": (put(LAYER, lambda x: x.repeat(2, 1, 1, 1)), "not every tensor has the 1 rows"),
    "not finite": (put(LAYER, lambda x: x / 0), "not finite"),
    "unknown token": (put("pending", lambda x: x + 1000), "contradict"),
    "negative token": (put("pending", lambda x: x - 1000), "contradict"),
    "pending past the segment": (put("num_pending", lambda x: x + 3), "contradict"),
    "pending past the text": (put("num_tokens", lambda x: x * 0), "contradict"),
    "counts of another type": (put("num_tokens", lambda x: x.float()), "contradict"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_contents_that_do_not_fit(saved, model, forgery):
    change, reason = FORGERIES[forgery]
    write_raw(saved, change(load_file(saved)), content_of(saved))
    with pytest.raises(StateFileError, match=reason):
        _ = load_state(saved, model)


@pytest.mark.parametrize("field", ["segment_len", "fingerprints", "sources"])
def test_a_header_without_a_field(saved, model, field):
    content = content_of(saved)
    del content[field]
    write_raw(saved, load_file(saved), content)
    with pytest.raises(StateFileError, match="its header lacks"):
        _ = load_state(saved, model)


def fail_with(code):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "pathlib.Path.write_bytes"])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_failing_disk_leaves_the_old_file(saved, monkeypatch, model, step, code):
    before = saved.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(step, fail_with(code))
        with pytest.raises(StorageError, match=r"No space left|Cannot write"):
            save_state(saved, model.read(random_ids(1, 30, seed=5)), model)
    assert saved.read_bytes() == before
    assert names_in(saved.parent) == {NAME}


def test_a_full_disk_is_seen_before_writing(tmp_path, monkeypatch, model, state):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(StorageError, match=r"needs [\d,]+ bytes and 100 are free"):
        save_state(tmp_path / "new" / NAME, state, model)
    assert names_in(tmp_path) == set()


def test_a_state_that_is_not_finite_replaces_no_good_one(saved, model, state):
    before = saved.read_bytes()
    broken = state.with_layers(tuple(each.map(lambda x: x / 0) for each in state.layers))
    with pytest.raises(StateError, match="not finite"):
        save_state(saved, broken, model)
    assert saved.read_bytes() == before


def test_a_state_of_another_depth(tmp_path, model):
    deep = recurrent(MEMORY, num_hidden_layers=3)
    with pytest.raises(StateError, match="The state has 3 layers, the model 2"):
        save_state(tmp_path / NAME, deep.init_state(), model)
