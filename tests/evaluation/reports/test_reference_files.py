import csv
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armt.core.errors import DataError, UnknownNameError
from armt.evaluation.metrics import Score
from armt.evaluation.reports.reference_files import (
    Prediction,
    ReferenceFile,
    as_reference_reads,
    find_files,
    parse_flags,
    read_predictions,
    read_settings,
    score_files,
    score_predictions,
    spell_flags,
    write_predictions,
    write_settings,
)

FULL = "instruction_yes_examples_no_post_prompt_yes_chat_template_no_system_prompt_no"
ROWS = [
    Prediction("kitchen", "Mary is in the kitchen.", "Where is Mary? "),
    Prediction("office", 'He said "garden",\n\nand left', "Where is John? "),
    Prediction("garden", "", "Where is Sandra? "),
]


@pytest.mark.parametrize("num_flags", [3, 4, 5])
def test_three_four_or_five_flags_are_understood(num_flags):
    names = ["instruction", "examples", "post_prompt", "chat_template", "system_prompt"]
    text = "_".join(f"{name}_yes" for name in names[:num_flags])
    assert parse_flags(text) == dict.fromkeys(names[:num_flags], True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "instruction_yes_examples_no",
        "examples_yes_instruction_yes_post_prompt_no",
        "instruction_yes_examples_yes_post_prompt_no_system_prompt_no",
        "instruction_maybe_examples_yes_post_prompt_no",
        FULL + "_few_shot_yes",
        FULL + "_",
    ],
)
def test_other_flags_are_refused(text):
    with pytest.raises(DataError, match="no flags of a result file"):
        _ = parse_flags(text)


def test_flags_are_spelled_in_order():
    assert spell_flags({"post_prompt": True, "instruction": True}) == FULL


def test_a_file_looks_like_those_of_the_reference(tmp_path):
    path = tmp_path / "qa1_4k.csv"
    write_predictions(path, ROWS)
    assert path.read_bytes().decode() == (
        ",target,output,question\n"
        "0,kitchen,Mary is in the kitchen.,Where is Mary? \n"
        '1,office,"He said ""garden"",\n\nand left",Where is John? \n'
        "2,garden,,Where is Sandra? \n"
    )
    assert read_predictions(path) == ROWS


@given(
    st.lists(
        st.builds(
            Prediction, *[st.text(st.characters(codec="utf-8", exclude_characters="\0"))] * 3
        ),
        max_size=4,
    )
)
def test_any_text_comes_back(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("any") / "qa1_4k.csv"
    write_predictions(path, rows)
    assert read_predictions(path) == rows
    with path.open(encoding="utf-8", newline="") as file:
        assert [tuple(row[1:]) for row in csv.reader(file)][1:] == [tuple(row) for row in rows]


def test_outputs_may_be_very_long(tmp_path):
    limit = csv.field_size_limit()
    rows = [Prediction("kitchen", "word, " * 50_000, "Where is Mary? ")]
    write_predictions(tmp_path / "qa1_4k.csv", rows)
    assert read_predictions(tmp_path / "qa1_4k.csv") == rows
    assert csv.field_size_limit() == limit


def test_columns_may_stand_in_any_order_and_blank_lines_do_not_count(tmp_path):
    path = tmp_path / "qa1_4k.csv"
    _ = path.write_text("question,extra,target,output\r\nq,1,t,o\r\n\r\nq2,2,t2,o2\r\n")
    assert read_predictions(path) == [Prediction("t", "o", "q"), Prediction("t2", "o2", "q2")]


@pytest.mark.parametrize(
    ("content", "line", "what"),
    [
        (b"", 1, "columns target, output, question are needed"),
        (b",target,output\n0,a,b\n", 1, "columns"),
        (b",target,output,question\n0,a,b,c\n1,a,b\n", 3, "has 3 cells instead of 4"),
        (b',target,output,question\n0,a,"b\nx",c\n1,a,b,c,d\n', 4, "has 5 cells instead of 4"),
        (b',target,output,question\n0,a,b,c\n1,a,"b', 3, "is damaged"),
        (b",target,output,question\n0,a,b,c\n1,a,\xff\xfe,c\n", 3, "no UTF-8"),
    ],
)
def test_a_damaged_file_is_refused_by_name_and_line(tmp_path, content, line, what):
    path = tmp_path / "qa1_4k.csv"
    _ = path.write_bytes(content)
    with pytest.raises(DataError, match=what) as caught:
        _ = read_predictions(path)
    assert f"'{path}', line {line}" in str(caught.value)


def test_a_missing_file_is_told(tmp_path):
    with pytest.raises(DataError, match="Check the path"):
        _ = read_predictions(tmp_path / "none.csv")


def test_settings_come_back_and_have_the_layout_of_the_reference(tmp_path):
    path = tmp_path / "qa1_4k.json"
    write_settings(path, {"instruction": "Read.", "chat_template": False}, {"num_beams": 1})
    assert path.read_text().startswith('{\n    "prompt": {\n        "instruction": "Read."')
    assert read_settings(path) == {
        "prompt": {"instruction": "Read.", "chat_template": False},
        "generate_kwargs": {"num_beams": 1},
    }
    for text in ("{", "[]"):
        _ = path.write_text(text)
        with pytest.raises(DataError, match="Fetch the file anew"):
            _ = read_settings(path)


def test_a_tree_is_found_in_order(tmp_path):
    for name in ("b/m/qa10_4k", "a/m/qa10_1k", "a/m/qa2_10M", "a/m/qa2_4k", "a/.git/qa1_0k"):
        write_predictions(tmp_path / f"{name}_{FULL}.csv", ROWS)
    _ = (tmp_path / "a" / "all_results.csv").write_text("model_name,task\n")
    found = [(file.model, file.task, file.length, file.flags) for file in find_files(tmp_path)]
    assert found == [
        ("a/m", "qa2", 4000, FULL),
        ("a/m", "qa2", 10_000_000, FULL),
        ("a/m", "qa10", 1000, FULL),
        ("b/m", "qa10", 4000, FULL),
    ]
    assert {file.model for file in find_files(tmp_path / "a" / "m")} == {"m"}


def test_a_tree_without_results_or_with_odd_names_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no folder"):
        _ = find_files(tmp_path / "none")
    with pytest.raises(DataError, match="No result file below"):
        _ = find_files(tmp_path)
    write_predictions(tmp_path / "qa1_long_instruction_yes.csv", ROWS)
    with pytest.raises(DataError, match="is none of a result file"):
        _ = find_files(tmp_path)


def test_rows_are_scored_by_both_rules(tmp_path):
    path = tmp_path / f"qa7_0k_{FULL}.csv"
    rows = [("none", "none"), ("one", "one"), ("two", "one or two"), ("two", "two.")]
    write_predictions(
        path, [Prediction(*row, "How many objects is Mary carrying? ") for row in rows]
    )
    [scored] = score_files(find_files(tmp_path))
    assert (scored.reference, scored.strict) == (Score(2, 4), Score(3, 4))


def test_outputs_that_the_reference_loses_are_empty_for_its_rule_alone():
    assert [as_reference_reads(text) for text in ("None", "NaN", "none", "no")] == [
        "", "", "none", "no",
    ]  # fmt: skip
    question = "How many objects is Mary carrying? "
    assert score_predictions("qa7", [Prediction("none", "None", question)]) == (
        Score(0, 1),
        Score(1, 1),
    )


def test_a_file_of_no_known_task_is_refused(tmp_path):
    path = tmp_path / "qa77_0k.csv"
    write_predictions(path, ROWS)
    with pytest.raises(UnknownNameError, match="qa77"):
        _ = list(score_files([ReferenceFile(path, "m", "qa77", 0, "")]))


def test_many_rows_take_seconds(tmp_path):
    rows = [
        Prediction("kitchen", f"{n} The {n % 7} kitchen.", "Where is Mary? ") for n in range(20_000)
    ]
    write_predictions(tmp_path / "qa1_4k.csv", rows)
    started = time.process_time()
    [scored] = score_files(find_files(tmp_path))
    assert scored.reference.num_samples == 20_000
    assert time.process_time() - started < 3  # 1.5 million in less than four minutes, anywhere
