import csv
import json
import runpy
import sys

import pytest

from armt.cli import app, console
from armt.cli.app import INTERRUPTED_CODE, MISTAKE_CODE
from armt.core.errors import BackboneError
from armt.recipes.registry import RECIPES
from armt.serving import folders
from armt.serving.boxed_model import load_boxed
from armt.tasks.babilong.corpus import is_test_book
from armt.training.callbacks.log import read_log
from tiny_boxed import PROSE

TINY = (
    "backbone.d_model=16",
    "backbone.num_layers=1",
    "backbone.num_heads=2",
    "backbone.d_ffn=16",
    "memory.d_mem=4",
    "log_every=1",
)


def sets(*changes: str) -> list[str]:
    return [part for change in changes for part in ("--set", change)]


@pytest.fixture
def one_step() -> list[str]:
    """Options that leave one step of the smoke recipe's first stage."""
    stages = RECIPES["smoke"].entry().stages
    ends = [f"stages.{number}.num_steps=0" for number in range(1, len(stages))]
    return sets(*TINY, "stages.0.num_steps=2", "stages.0.batch_size=4", *ends)


def test_without_a_command_the_help_is_shown(run):
    result = run()
    assert "Usage: armt" in result.output
    assert all(name in result.output for name in ("demo", "read", "ask", "train", "doctor"))


def test_a_recipe_is_trained_and_resumed(run, one_step, tmp_path):
    out = tmp_path / "run"
    result = run("train", "smoke", "--out", out, *one_step)
    assert result.exit_code == 0, result.stderr
    assert [report.step for report in read_log(out / "log.jsonl")] == [1, 2]
    assert (out / "curves.png").stat().st_size > 1000
    assert (out / "model" / "model.safetensors").exists()
    weights = (out / "model" / "model.safetensors").read_bytes()
    again = run("train", "smoke", "--out", out, *one_step)
    assert again.exit_code == 0
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    assert len(read_log(out / "log.jsonl")) == 2


def test_training_mistakes_are_told(refused, one_step, run, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "Did you mean 'smoke'?" in refused("train", "smok", *out)
    assert "has no option 'sed'. Did you mean 'seed'" in refused(
        "train", "smoke", *out, "--set", "sed=1"
    )
    assert "--set takes PATH=VALUE" in refused("train", "smoke", *out, "--set", "seed")
    assert "must be int" in refused("train", "smoke", *out, "--set", "seed=one")
    assert "Unknown tracker" in refused("train", "smoke", *out, "--tracker", "wand")
    too_long = sets("recurrence.segment_len=4096")
    assert "do not fit the model's" in refused("train", "smoke", *out, *too_long)
    unknown = sets("backbone.family=martian")
    assert "martian" in refused("train", "smoke", "--out", tmp_path / "other", *unknown)


def test_a_folder_of_another_run_is_not_touched(refused, run, one_step, tmp_path):
    out = tmp_path / "run"
    assert run("train", "smoke", "--out", out, *one_step).exit_code == 0
    message = refused("train", "smoke", "--out", out, *one_step, "--set", "seed=7")
    assert "holds a run with other options (seed)" in message


@pytest.fixture
def books(tmp_path):
    """A folder with one short book, which is kept for testing."""
    folder = tmp_path / "books"
    folder.mkdir()
    name = next(str(number) for number in range(99) if is_test_book(str(number)))
    _ = (folder / f"{name}.txt").write_text(PROSE * 3)
    return folder


def test_an_evaluation_writes_tables_and_is_resumed(run, model, books, tmp_path):
    out = tmp_path / "results"
    args = ("evaluate", "--out", out, "--model", model, "--lengths", "0k,700", "--num-samples", "2")
    result = run(*args, "--background", books)
    assert result.exit_code == 0, result.stderr
    assert "| qa1 | memory on | exact |" in result.stdout
    rows = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    assert [(row["arm"], row["length"]) for row in rows] == [
        ("on", "0"),
        ("on", "700"),
        ("off", "0"),
        ("off", "700"),
    ]
    records = (out / "records.jsonl").read_bytes()
    assert len(records.splitlines()) == 8
    assert (out / "heatmap.png").read_bytes().startswith(b"\x89PNG")
    assert run(*args, "--background", books).exit_code == 0
    assert (out / "records.jsonl").read_bytes() == records
    first, *others = records.decode().splitlines()
    failed = json.loads(first) | {"answer": "", "failure": "out of memory"}
    _ = (out / "records.jsonl").write_text("\n".join([json.dumps(failed), *others, ""]))
    assert "failed" not in run(*args, "--background", books).stderr
    again = (out / "records.jsonl").read_text().splitlines()
    assert len(again) == 9
    assert json.loads(again[-1])["failure"] == ""


def test_evaluation_mistakes_are_told(refused, model, books, tmp_path):
    args = ("evaluate", "--out", tmp_path / "out", "--model", model)
    assert "A length is a number" in refused(*args, "--lengths", "long")
    assert "num_samples" in refused(*args, "--num-samples", "0")
    assert "Unknown bAbI task 'qa99'" in refused(*args, "--task", "qa99", "--background", books)
    (tmp_path / "empty").mkdir()
    assert "No .txt file" in refused(*args, "--background", tmp_path / "empty")


def test_everything_registered_is_listed(run):
    result = run("list")
    assert result.exit_code == 0
    recipes = ("smoke", "armt_babilong_qa1", "rmt_copy")
    tasks = ("qa1", "associative_retrieval", "copy_reverse", "quadratic", "factual_recall")
    for name in ("armt", "none", "lm2", *recipes, *tasks):
        assert name in result.stdout


def test_the_doctor_tells_what_is_missing(run, monkeypatch, tmp_path):
    def missing(name: str = "qa1") -> None:
        raise BackboneError(f"no {name} here.")

    monkeypatch.setattr(folders, "boxed_folder", missing)
    result = run("doctor")
    assert result.exit_code == 1
    lines = {line.split()[1]: line.split()[0] for line in result.stdout.splitlines()}
    assert lines["torch"] == "ok"
    assert lines["attach"] == "ok"
    assert lines["boxed"] == "failed"


def test_the_doctor_asks_the_boxed_model(run, monkeypatch, model):
    monkeypatch.setattr(folders, "boxed_folder", lambda: model)
    result = run("doctor")
    assert result.exit_code == 1
    assert "instead of 'garden'" in result.stdout
    monkeypatch.setattr("armt.serving.answer.answer_question", lambda *_: "garden")
    assert run("doctor").exit_code == 0


def test_without_the_boxed_model_its_commands_say_so(refused, monkeypatch, tmp_path, book):
    monkeypatch.setattr(folders, "BOXED_FOLDER", tmp_path)
    for args in (("demo",), ("read", book, "--out", tmp_path / "x.state")):
        assert "without the boxed model" in refused(*args)


def test_exit_codes_are_those_promised():
    assert (MISTAKE_CODE, INTERRUPTED_CODE) == (2, 130)
    assert app.info.name == "armt"


def test_resident_memory_is_plausible_and_sizes_are_spelled():
    assert 50e6 < console.resident_nbytes() < 50e9
    spelled = [console.spell_nbytes(value) for value in (0, 1023, 1536, 3 * 2**20, 5 * 2**40)]
    assert spelled == ["0 B", "1023 B", "1.5 KiB", "3.0 MiB", "5.0 TiB"]


def test_the_reading_form_comes_back(model):
    form = json.loads((model / "reading.json").read_text())
    assert load_boxed(model).form.to_dict() == form


def test_the_package_itself_is_a_command(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["armt", "--help"])
    with pytest.raises(SystemExit) as ended:
        _ = runpy.run_module("armt", run_name="__main__")
    assert ended.value.code == 0
    assert "Usage: " in capsys.readouterr().out
