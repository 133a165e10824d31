"""Models and memories that go to disk and come back."""

import errno
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    GenerationConfig,
    LlamaForCausalLM,
    Trainer,
)

from armt import ARMTConfig, NoMemoryConfig, Recurrent
from armt.core.errors import BackboneError, ConfigError, StorageError, UnknownNameError
from armt.recurrence.auto import ArmtConfig, ArmtForCausalLM, register_auto_classes
from recurrence.hf_trainer import make_trainer
from tiny import FAMILIES, assert_same_model, backbone, random_ids, recurrent

MEMORY = ARMTConfig(num_memory_tokens=2, d_mem=4)
WEIGHTS = "model.safetensors"


@pytest.fixture(autouse=True)
def registered() -> None:
    register_auto_classes()


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_classes_give_the_model_back(tmp_path, family):
    model = recurrent(MEMORY, family, bptt_depth=3)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, experts_implementation="eager")
    assert_same_model(loaded, model)
    assert loaded.recurrence == model.recurrence
    assert loaded.memory.mechanisms[0].config == MEMORY


@pytest.mark.parametrize("load", [Recurrent, ArmtForCausalLM], ids=lambda cls: cls.__name__)
def test_our_own_classes_load_it_too(tmp_path, load):
    model = recurrent(MEMORY)
    model.save_pretrained(tmp_path)
    assert_same_model(load.from_pretrained(tmp_path), model)


def test_a_second_save_gives_the_same_files(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path / "one")
    Recurrent.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for name in ("config.json", WEIGHTS):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_names_are_the_backbones_own_and_those_of_the_memory(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path / "ours")
    backbone().save_pretrained(tmp_path / "plain")
    names = set(load_file(tmp_path / "ours" / WEIGHTS))
    plain = set(load_file(tmp_path / "plain" / WEIGHTS))
    assert {name for name in names if not name.startswith("memory.")} == plain
    assert len(names) > len(plain)


def test_loading_is_silent(tmp_path, capfd):
    recurrent(MEMORY).save_pretrained(tmp_path)
    _ = capfd.readouterr()
    _, told = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not told["unexpected_keys"]
    assert not told["missing_keys"]
    assert "memory." not in capfd.readouterr().err


def test_the_loaded_model_keeps_the_backbones_config(tmp_path):
    model = recurrent(MEMORY)
    model.save_pretrained(tmp_path)
    loaded = Recurrent.from_pretrained(tmp_path)
    assert (model.config.model_type, loaded.config.model_type) == ("llama", "llama")
    assert model.config.architectures == ["LlamaForCausalLM"]
    assert isinstance(loaded, LlamaForCausalLM)
    assert not loaded.training
    assert not loaded.memory.training


def test_the_saved_config(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(config, ArmtConfig)
    assert config.architectures == ["ArmtForCausalLM"]
    assert config.get_text_config().hidden_size == 16
    assert config.get_text_config().model_type == "llama"
    assert json.loads((tmp_path / "config.json").read_text())["memory"] == {
        "name": "armt",
        "options": MEMORY.to_dict(),
    }
    assert ArmtConfig().get_text_config().model_type == "armt"


def test_tied_weights_stay_tied(tmp_path):
    model = recurrent(MEMORY, tie_word_embeddings=True)
    model.save_pretrained(tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / WEIGHTS)
    loaded = Recurrent.from_pretrained(tmp_path)
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert_same_model(loaded, model)


def test_bfloat16_stays(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {value.dtype for value in loaded.parameters()} == {torch.bfloat16}
    assert_same_model(loaded, model)


def test_another_precision_holds_for_the_memory_too(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    assert {value.dtype for value in loaded.parameters()} == {torch.float32}


def test_a_memory_of_higher_precision_keeps_it(tmp_path):
    model = recurrent(MEMORY).float()
    _ = model.memory.double()
    model.save_pretrained(tmp_path)
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path)
    assert {value.dtype for value in loaded.memory.parameters()} == {torch.float64}
    assert loaded.dtype == torch.float32


def test_weights_in_several_files(tmp_path):
    model = recurrent(MEMORY)
    model.save_pretrained(tmp_path, max_shard_size="6KB")
    assert (tmp_path / f"{WEIGHTS}.index.json").exists()
    assert_same_model(Recurrent.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("sizes", [("6KB", "1GB"), ("1GB", "6KB"), ("6KB", "9KB")])
def test_weights_of_an_earlier_save_are_removed(tmp_path, sizes):
    first, second = recurrent(MEMORY), recurrent(MEMORY, seed=1)
    first.save_pretrained(tmp_path, max_shard_size=sizes[0])
    _ = (tmp_path / "notes.txt").write_text("mine")
    second.save_pretrained(tmp_path, max_shard_size=sizes[1])
    second.save_pretrained(tmp_path / "fresh", max_shard_size=sizes[1])
    assert names_in(tmp_path) - {"notes.txt", "fresh"} == names_in(tmp_path / "fresh")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert_same_model(Recurrent.from_pretrained(tmp_path), second)


def test_the_generation_config_is_kept(tmp_path):
    model = recurrent(MEMORY)
    model.generation_config = GenerationConfig(max_new_tokens=3, eos_token_id=2, pad_token_id=0)
    model.save_pretrained(tmp_path)
    loaded = Recurrent.from_pretrained(tmp_path)
    assert loaded.generation_config.max_new_tokens == 3
    assert torch.equal(loaded.generate(random_ids(1, 6)), model.generate(random_ids(1, 6)))


def test_from_config_makes_an_untrained_model(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    config = AutoConfig.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    assert isinstance(model, Recurrent)
    assert {value.dtype for value in model.parameters()} == {torch.float32}
    assert model.recurrence.segment_len == 4
    assert not model.memory.mechanisms[0].to_value.weight.any()


def test_a_memory_without_weights(tmp_path):
    model = recurrent(NoMemoryConfig())
    model.save_pretrained(tmp_path)
    assert_same_model(Recurrent.from_pretrained(tmp_path), model)


def trainer(folder: Path, steps: int, **options: Any) -> Trainer:
    return make_trainer(recurrent(MEMORY).float(), folder, steps, **options)


def test_the_trainer_saves_and_resumes(tmp_path):
    whole = trainer(tmp_path, 4)
    _ = whole.train()
    shutil.rmtree(tmp_path / "checkpoint-4")
    resumed = trainer(tmp_path, 4)
    _ = resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_same_model(resumed.model.eval(), whole.model.eval())
    assert_same_model(Recurrent.from_pretrained(tmp_path / "checkpoint-4"), whole.model)


def test_the_trainer_evaluates_and_keeps_the_best_model(tmp_path):
    best = trainer(tmp_path, 4, eval_strategy="steps", eval_steps=2, load_best_model_at_end=True)
    _ = best.train()
    rows = torch.stack([row["input_ids"] for row in best.eval_dataset])
    expected = best.model.eval()(rows, labels=rows).loss.item()
    assert best.evaluate()["eval_loss"] == pytest.approx(expected)


def test_the_trainer_predicts_without_what_is_no_logits(tmp_path):
    taught = trainer(tmp_path, 2)
    found = taught.predict(taught.eval_dataset, ignore_keys=["state", "num_labels", "num_correct"])
    assert found.predictions.shape[0] == 4
    assert found.label_ids.shape == (4, 10)


@pytest.mark.parametrize("with_adapter", [False, True])
def test_a_loss_that_the_trainer_makes_itself_is_shifted_too(tmp_path, with_adapter):
    model: Any = recurrent(MEMORY).float().eval()
    rows = {"input_ids": random_ids(2, 10), "labels": random_ids(2, 10)}
    expected = model(**rows).loss
    if with_adapter:
        model = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    smoothing = make_trainer(model, tmp_path, 1, label_smoothing_factor=1e-9)
    torch.testing.assert_close(smoothing.compute_loss(model, rows), expected)


def test_a_model_without_memory_is_told_apart(tmp_path):
    backbone().save_pretrained(tmp_path)
    with pytest.raises(BackboneError, match="is of type 'llama' and has no memory"):
        _ = Recurrent.from_pretrained(tmp_path)


def test_weights_that_do_not_fit(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    whole = load_file(tmp_path / WEIGHTS)
    tokens = whole.pop("memory.tokens")
    save_file(whole, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"'tokens' expected \(2, 16\), found nothing"):
        _ = Recurrent.from_pretrained(tmp_path)
    whole["memory.tokens"] = tokens[:1].clone()
    save_file(whole, tmp_path / WEIGHTS, metadata={"format": "pt"})
    with pytest.raises(BackboneError, match=r"'tokens' expected \(2, 16\), found \(1, 16\)"):
        _ = Recurrent.from_pretrained(tmp_path)


def test_an_unknown_memory_and_an_unknown_backbone(tmp_path):
    recurrent(MEMORY).save_pretrained(tmp_path)
    path = tmp_path / "config.json"
    plain = json.loads(path.read_text())
    plain["memory"]["name"] = "amrt"
    _ = path.write_text(json.dumps(plain))
    with pytest.raises(UnknownNameError, match="Did you mean 'armt'"):
        _ = Recurrent.from_pretrained(tmp_path)
    plain["backbone"]["model_type"] = "lama"
    _ = path.write_text(json.dumps(plain))
    with pytest.raises(BackboneError, match="knows no model type 'lama'"):
        _ = Recurrent.from_pretrained(tmp_path)


@pytest.mark.parametrize("option", ["push_to_hub", "distributed_checkpoint", "variant"])
def test_options_that_cannot_be_had(tmp_path, option):
    with pytest.raises(ConfigError, match=f"saved without `{option}`"):
        recurrent(MEMORY).save_pretrained(tmp_path, **{option: True})


def fail_with(code):
    def fail(*args, **options):
        raise OSError(code, os.strerror(code))

    return fail


@pytest.mark.parametrize("step", ["os.fsync", "os.replace", "safetensors.torch.serialize_file"])
def test_a_failing_disk_leaves_the_old_model(tmp_path, monkeypatch, step):
    model, other = recurrent(MEMORY), recurrent(MEMORY, seed=1)
    model.save_pretrained(tmp_path)
    names = names_in(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(step, fail_with(errno.ENOSPC))
        with pytest.raises(StorageError, match="No space left"):
            other.save_pretrained(tmp_path)
    assert names_in(tmp_path) == names
    assert_same_model(Recurrent.from_pretrained(tmp_path), model)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_a_failure_between_two_files_is_told_as_one(tmp_path, name):
    model, other = recurrent(MEMORY), recurrent(MEMORY, seed=1)
    model.save_pretrained(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()  # nothing can be moved there
    with pytest.raises(StorageError) as caught:
        other.save_pretrained(tmp_path)
    message = str(caught.value)
    assert "may be of this save and others of the one before" in message
    assert "untouched" not in message
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_failure_before_the_first_file_leaves_the_folder(tmp_path, monkeypatch):
    model, other = recurrent(MEMORY), recurrent(MEMORY, seed=1)
    model.save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with monkeypatch.context() as patch:
        patch.setattr(ArmtConfig, "save_pretrained", fail_with(errno.EIO))
        with pytest.raises(StorageError, match="What was there is untouched"):
            other.save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_full_disk_is_seen_before_writing(tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    with pytest.raises(StorageError, match=r"needs [\d,]+ bytes and 100 are free"):
        recurrent(MEMORY).save_pretrained(tmp_path / "new")
    assert names_in(tmp_path) == set()
