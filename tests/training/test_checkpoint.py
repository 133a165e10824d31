import shutil
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from armt.core.errors import StateError, StorageError
from armt.training import checkpoint
from armt.training.checkpoint import Progress, load_newest, save_checkpoint
from training.runs import carried_run, carried_trainer

FILES = ("model", "optimizer", "random", "carried")


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory) -> Path:
    """The folder of a run with checkpoints after steps 3 and 6."""
    folder = tmp_path_factory.mktemp("run")
    _ = carried_trainer(carried_run(), folder).train()
    return folder


@pytest.fixture
def folder(run_folder, tmp_path) -> Path:
    return shutil.copytree(run_folder, tmp_path / "copy")


def steps_in(folder: Path) -> list[int]:
    found = [path for path in folder.glob("checkpoints/*") if not path.suffix]
    return sorted(int(path.name.removeprefix("step-")) for path in found)


def newest(folder: Path) -> Path:
    return folder / "checkpoints" / "step-00000006"


def step_resumed(folder: Path) -> int:
    return carried_trainer(carried_run(), folder).progress.step


def test_the_newest_one_is_taken(folder):
    assert steps_in(folder) == [3, 6]
    assert step_resumed(folder) == 6


@pytest.mark.parametrize("name", [f"{name}.safetensors" for name in FILES] + ["manifest.json"])
def test_without_one_of_its_files_it_does_not_count(folder, name):
    (newest(folder) / name).unlink()
    with pytest.warns(UserWarning, match=rf"step-00000006' \({name} is missing\)"):
        assert step_resumed(folder) == 3


@pytest.mark.parametrize("name", FILES)
def test_with_a_flipped_byte_it_does_not_count(folder, name):
    path = newest(folder) / f"{name}.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    _ = path.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"step-00000006' \({name}\.safetensors is damaged\)"):
        assert step_resumed(folder) == 3


@pytest.mark.parametrize("text", ["", "{", "{}", "[]", '{"progress": {"new": 1}, "digests": {}}'])
def test_with_a_manifest_that_cannot_be_used_it_does_not_count(folder, text):
    _ = (newest(folder) / "manifest.json").write_text(text)
    with pytest.warns(UserWarning, match=r"from '.*step-00000003'.*manifest.json is damaged or of"):
        assert step_resumed(folder) == 3


def test_an_empty_folder_does_not_count(folder):
    for path in newest(folder).iterdir():
        path.unlink()
    with pytest.warns(UserWarning, match=r"manifest\.json is missing"):
        assert step_resumed(folder) == 3


def test_a_run_whose_checkpoints_are_all_damaged_does_not_begin_anew(folder):
    for path in folder.glob("checkpoints/*/manifest.json"):
        path.unlink()
    with pytest.raises(StateError, match=r"step-00000006' .*step-00000003' .*to start anew"):
        _ = step_resumed(folder)
    shutil.rmtree(folder / "checkpoints")
    assert step_resumed(folder) == 0


def test_a_disk_that_does_not_give_a_checkpoint_is_told(folder, monkeypatch):
    """It may be whole, so the run does not go on from the one before."""

    def broken(path):
        raise OSError(5, "Input/output error", str(path))

    monkeypatch.setattr(checkpoint, "load_file", broken)
    with pytest.raises(StorageError, match=r"step-00000006': Input/output error\. Check the disk"):
        _ = step_resumed(folder)


def test_damaged_ones_do_not_push_out_good_ones(folder):
    trainer = carried_trainer(carried_run(), folder)
    for path in folder.glob("checkpoints/*/manifest.json"):
        path.unlink()
    for step in (1, 2):
        trainer.progress.step = step
        made = save_checkpoint(folder, trainer.recurrent, trainer.optimizer, trainer.progress, None)
        assert (made / "manifest.json").exists()
    with pytest.warns(UserWarning, match=r"step-00000006' .*step-00000003' "):
        assert step_resumed(folder) == 2


def test_two_are_kept(folder):
    trainer = carried_trainer(carried_run(), folder)
    for step in (7, 8, 9):
        _ = save_checkpoint(folder, trainer.recurrent, trainer.optimizer, Progress(step=step), None)
    assert steps_in(folder) == [8, 9]
    found = load_newest(folder, trainer.recurrent, trainer.optimizer)
    assert found == (Progress(step=9), None)


def test_a_save_that_breaks_off_leaves_the_one_before(folder, monkeypatch):
    trainer = carried_trainer(carried_run(), folder)
    calls = []

    def save_file(tensors, path):
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        checkpoint_save(tensors, path)

    checkpoint_save = checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", save_file)
    with pytest.raises(StorageError, match="No space left"):
        _ = save_checkpoint(folder, trainer.recurrent, trainer.optimizer, Progress(step=9), None)
    assert steps_in(folder) == [3, 6]
    with pytest.warns(UserWarning, match=r"step-00000009\.tmp' \(its writing was broken off\)"):
        assert step_resumed(folder) == 6
    monkeypatch.undo()
    _ = save_checkpoint(folder, trainer.recurrent, trainer.optimizer, Progress(step=9), None)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-00000006",
        "step-00000009",
    ]


def test_a_first_save_that_breaks_off_is_told_and_the_run_begins(folder):
    shutil.rmtree(folder / "checkpoints" / "step-00000003")
    _ = newest(folder).rename(newest(folder).with_suffix(".tmp"))
    with pytest.warns(UserWarning, match=r"goes on from the start\. Not used: .*broken off"):
        assert step_resumed(folder) == 0


class Killed(BaseException):
    """The end of a process, which nothing cleans up after."""


@pytest.mark.parametrize("place", range(9))
def test_a_kill_never_costs_the_newest_one(folder, monkeypatch, place):
    """Nor where it is written again, as a finished run does that is called again."""
    trainer = carried_trainer(carried_run(), folder)
    calls = []

    def killed_at(call):
        def change(*arguments, **options):
            calls.append(call)
            if len(calls) == place + 1:
                raise Killed
            return call(*arguments, **options)

        return change

    monkeypatch.setattr(checkpoint, "save_file", killed_at(checkpoint.save_file))
    monkeypatch.setattr(checkpoint, "write_text", killed_at(checkpoint.write_text))
    monkeypatch.setattr(shutil, "rmtree", killed_at(shutil.rmtree))
    monkeypatch.setattr(Path, "rename", killed_at(Path.rename))
    try:
        trainer._save()
    except Killed:
        monkeypatch.undo()
        with warnings.catch_warnings(action="ignore"):
            assert step_resumed(folder) == 6
            carried_trainer(carried_run(), folder)._save()
    assert (len(calls) == place + 1) == (place < 8)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [
        "step-00000003",
        "step-00000006",
    ]


def test_states_of_another_shape_are_told(folder):
    trainer = carried_trainer(carried_run(), folder)
    wide = tuple(layer.map(lambda x: torch.cat([x, x], -1)) for layer in trainer.carried)
    _ = save_checkpoint(folder, trainer.recurrent, trainer.optimizer, Progress(step=9), wide)
    with pytest.raises(StateError, match="another shape"):
        _ = step_resumed(folder)


def test_carried_states_go_on_where_the_memory_has_them(folder, monkeypatch):
    """As those of a long-term memory that stays on the host while the model is on a GPU."""
    trainer = carried_trainer(carried_run(), folder)
    memory = trainer.recurrent.memory
    num_rows = len(next(iter(trainer.carried[0].tensors().values())))
    there = tuple(_first_alone_here(layer) for layer in memory.init_states(num_rows))
    monkeypatch.setattr(memory, "init_states", lambda num_rows: there)
    _, carried = load_newest(folder, trainer.recurrent, trainer.optimizer)
    for layer, template in zip(carried, there, strict=True):
        devices = {name: value.device for name, value in layer.tensors().items()}
        assert devices == {name: value.device for name, value in template.tensors().items()}
        assert len(set(devices.values())) == 2


def _first_alone_here(layer):
    _, *others = layer.tensors()
    assert others, "the memory's state has two tensors"
    return replace(layer, **{name: getattr(layer, name).to("meta") for name in others})
