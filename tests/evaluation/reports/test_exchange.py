import json

import pytest

from armt.core.errors import DataError
from armt.evaluation.metrics import Score
from armt.evaluation.reports.collate import collate
from armt.evaluation.reports.exchange import export_records, records_of
from armt.evaluation.reports.reference_files import (
    FLAG_NAMES,
    Prediction,
    file_stem,
    find_files,
    score_files,
    spell_flags,
    write_predictions,
)
from evaluation.records import cell, record


def names_in(folder) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.csv"))


def test_what_is_exported_can_be_imported_and_collated(tmp_path):
    records = [
        record(1, answer="the garden, I think"),
        record(0, answer='say "office"\nor garden'),
        record(0, length=0, task="qa6", answer="I know", truth="no", question="Is Mary here? "),
    ]
    paths = export_records(records, tmp_path)
    assert len(paths) == 2
    files = find_files(tmp_path)
    assert {file.model for file in files} == {"armt/boxed"}
    back = [each for file in files for each in records_of(file)]
    assert [(each.task, each.length, each.index, each.answer) for each in back] == [
        ("qa1", 1000, 0, 'say "office"\nor garden'),
        ("qa1", 1000, 1, "the garden, I think"),
        ("qa6", 0, 0, "I know"),
    ]
    assert [each.scores["reference"] for each in back] == [False, True, True]
    assert [each.scores["strict"] for each in back] == [False, True, False]
    [table] = collate(score_files(files))
    assert table.best == {"qa1": (-1.0, 50.0), "qa6": (100.0, -1.0)}


def test_arms_prompts_and_places_of_the_question_are_not_mixed_up(tmp_path):
    records = [
        record(arm="on"),
        record(arm="off"),
        record(task="qa1@both"),
        record(task="qa1@shuffled"),
        record(subject="meta-llama/Llama", arm="none", prompt_hash="abcdef"),
    ]
    _ = export_records(records, tmp_path)
    none = "instruction_no_examples_no_post_prompt_no_chat_template_no_system_prompt_no"
    full = "instruction_yes_examples_yes_post_prompt_yes_chat_template_no_system_prompt_no"
    assert names_in(tmp_path) == [
        f"armt/boxed-memory-off/qa1_1k_{none}.csv",
        f"armt/boxed-question-both/qa1_1k_{none}.csv",
        f"armt/boxed-shuffled/qa1_1k_{none}.csv",
        f"armt/boxed/qa1_1k_{none}.csv",
        f"meta-llama/Llama/qa1_1k_{full}.csv",
    ]
    settings = json.loads((tmp_path / f"meta-llama/Llama/qa1_1k_{full}.json").read_text())
    assert settings["prompt"]["hash"] == "abcdef"
    assert settings["generate_kwargs"] == {"do_sample": False, "num_beams": 1}


def test_samples_of_several_makings_are_not_mixed_up(tmp_path):
    makings = ("1111111", "2222222")
    records = [record(task_fingerprint=made, answer=made) for made in makings]
    paths = export_records([*records, record(task="qa2")], tmp_path)
    assert [path.parent.name for path in paths] == [
        "boxed-samples-111111",
        "boxed-samples-222222",
        "boxed",
    ]
    for path, made in zip(paths, makings, strict=False):
        assert made in path.read_text()


def test_the_tasks_of_one_seed_stay_together(tmp_path):
    records = [
        record(task=task, seed=seed, task_fingerprint=f"{task}{seed}")
        for seed in (0, 1)
        for task in ("qa1", "qa2")
    ]
    folders = [path.parent.name for path in export_records(records, tmp_path)]
    assert folders == ["boxed-seed-0", "boxed-seed-1"] * 2


def test_the_parts_of_a_prompt_are_told_as_they_were(tmp_path):
    bare = spell_flags({"instruction": True, "chat_template": True, "system_prompt": True})
    full = spell_flags(dict.fromkeys(FLAG_NAMES, True))
    records = [record(prompt_hash=flags, prompt_flags=flags) for flags in (bare, full)]
    _ = export_records(records, tmp_path)
    # One model, as the reference collates it: the best of its configurations.
    assert names_in(tmp_path) == [f"armt/boxed/qa1_1k_{flags}.csv" for flags in (bare, full)]
    told = json.loads((tmp_path / f"armt/boxed/qa1_1k_{bare}.json").read_text())["prompt"]
    assert [name for name in FLAG_NAMES if told[name]] == [
        "instruction",
        "chat_template",
        "system_prompt",
    ]


def test_prompts_of_the_same_parts_are_not_mixed_up(tmp_path):
    full = spell_flags(dict.fromkeys(FLAG_NAMES, True))
    records = [
        record(task=task, prompt_hash=f"{way}{task}", prompt_set=way, prompt_flags=full)
        for way in ("one", "two")
        for task in ("qa1", "qa2")
    ]
    folders = [path.parent.name for path in export_records(records, tmp_path)]
    assert folders == ["boxed--prompt-one"] * 2 + ["boxed--prompt-two"] * 2


def test_every_configuration_of_imported_files_is_kept(tmp_path):
    flags = [
        spell_flags({}),
        spell_flags({"examples": True}),
        "",
        "instruction_no_examples_yes_post_prompt_no",
    ]
    source, out = tmp_path / "source", tmp_path / "out"
    for number, each in enumerate(flags):
        path = source / "org" / "model" / f"{file_stem('qa1', 4000, each)}.csv"
        write_predictions(path, [Prediction("garden", str(number), "Where is Mary? ")])
    records = [each for file in find_files(source) for each in records_of(file)]
    _ = export_records(records, out)
    assert names_in(out) == names_in(source)
    for name in names_in(out):
        assert (out / name).read_text() == (source / name).read_text()
    assert not list(out.rglob("*.json"))


def test_a_file_is_never_written_twice(tmp_path):
    records = [record(subject="a b"), record(subject="a:b")]
    with pytest.raises(DataError, match="'a b' and 'a:b' would both be written to"):
        _ = export_records(records, tmp_path)
    assert names_in(tmp_path) == []


def test_flags_can_be_told(tmp_path):
    _ = export_records([record()], tmp_path, flags={"chat_template": True})
    [name] = names_in(tmp_path)
    assert name.endswith("post_prompt_no_chat_template_yes_system_prompt_no.csv")


@pytest.mark.parametrize("subject", ["../../etc/passwd", "a/b/c", "", "x:y*?", "/abs", ".."])
def test_names_cannot_lead_out_of_the_folder(tmp_path, subject):
    folder = tmp_path / "inside"
    [path] = export_records([record(subject=subject)], folder)
    assert folder.resolve() in path.resolve().parents
    assert len(path.relative_to(folder).parts) == 3


def test_imported_records_tell_what_is_not_known(tmp_path):
    _ = export_records(cell(1, 2), tmp_path)
    [file] = find_files(tmp_path)
    first = records_of(file)[0]
    assert (first.category, first.arm, first.prompt_hash) == ("imported", "none", file.flags)
    assert first.context_len == 0


def test_outputs_that_the_reference_loses_score_as_it_scores_them(tmp_path):
    question = "Is Mary in the office? "
    _ = export_records([record(task="qa6", answer="None", truth="no", question=question)], tmp_path)
    [file] = find_files(tmp_path)
    [scored] = score_files([file])
    assert records_of(file)[0].scores["reference"] is False
    assert scored.reference == Score(0, 1)


def test_a_damaged_file_is_told(tmp_path):
    _ = export_records([record()], tmp_path)
    [file] = find_files(tmp_path)
    _ = file.path.write_text("nothing")
    with pytest.raises(DataError, match="line 1"):
        _ = records_of(file)
