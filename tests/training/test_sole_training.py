"""Two processes do not train in one folder, and a lock outlives no training."""

import os
import signal
import subprocess
import sys
import time

import pytest
from filelock import FileLock

from armt.core.errors import StorageError
from armt.training import checkpoint
from training.runs import Reports, retrieval_run, retrieval_trainer

PATIENCE_S = 60.0
OTHER = """
import sys, time
from pathlib import Path
from training.runs import Reports, retrieval_run, retrieval_trainer

class Slow(Reports):
    def on_report(self, report):
        if report.step == 4:
            (Path(sys.argv[1]) / "begun").touch()
            time.sleep(600)

if __name__ == "__main__":
    retrieval_trainer(retrieval_run(), Path(sys.argv[1]), Slow()).train()
"""


class Fails(Reports):
    def on_report(self, report) -> None:
        raise RuntimeError("no place for reports")


def files_in(folder):
    return {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "training.lock"
    }


def test_a_second_process_is_refused_and_goes_on_when_the_first_is_killed(tmp_path, monkeypatch):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    script = tmp_path / "other.py"
    _ = script.write_text(OTHER)
    folder = tmp_path / "run"
    with subprocess.Popen([sys.executable, str(script), str(folder)], env=environment) as other:
        try:
            deadline = time.monotonic() + PATIENCE_S
            while not (folder / "begun").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            unfinished = folder / "checkpoints" / "step-00000006.tmp"
            unfinished.mkdir()
            before, told = files_in(folder), Reports()
            with pytest.warns(UserWarning, match="broken off"):
                second = retrieval_trainer(retrieval_run(), folder, told)
            with monkeypatch.context() as patch:
                patch.setattr(checkpoint, "_PATIENCE_S", 0.1)
                with pytest.raises(StorageError, match=r"Another process is training in '.*run'"):
                    _ = second.train()
            assert (told.reports, files_in(folder)) == ([], before)
        finally:
            os.kill(other.pid, signal.SIGKILL)
    unfinished.rmdir()
    # at once, while those that drew its batches may still be there
    _ = retrieval_trainer(retrieval_run(), folder, told).train()
    assert [report.step for report in told.reports] == [4, 5, 6]


def test_a_folder_is_free_after_an_end_and_after_an_error(tmp_path):
    with pytest.raises(RuntimeError, match="no place"):
        _ = retrieval_trainer(retrieval_run(), tmp_path, Fails()).train()
    for _ in range(2):
        trainer = retrieval_trainer(retrieval_run(), tmp_path)
        _ = trainer.train()
        with FileLock(tmp_path / "training.lock", timeout=0):
            pass
    _ = trainer.train()


def test_only_the_main_process_of_a_training_takes_the_lock(tmp_path, monkeypatch):
    trainer = retrieval_trainer(retrieval_run(), tmp_path)
    with FileLock(tmp_path / "training.lock", timeout=0):
        monkeypatch.setattr(type(trainer.accelerator), "is_main_process", False)
        _ = trainer.train()
    assert trainer.progress.step == 6


def test_a_folder_that_takes_no_lock_is_told(tmp_path):
    trainer = retrieval_trainer(retrieval_run(), tmp_path)
    (tmp_path / "training.lock").mkdir()
    with pytest.raises(StorageError, match=r"Cannot lock '.*training\.lock'"):
        _ = trainer.train()
