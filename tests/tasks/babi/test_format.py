import pytest

from armt.core.errors import DataError
from armt.tasks.babi.format import (
    format_stories,
    parse_stories,
    read_questions,
    read_stories,
)

TEXT = (
    "1 Mary went to the office.\n"
    "2 John moved to the garden.\n"
    "3 Where is Mary? \toffice\t1\n"
    "4 Mary moved to the garden.\n"
    "5 Where is Mary? \tgarden\t4 2\n"
    "6 John went to the office.\n"
    "1 Sandra went to the kitchen.\n"
    "2 Where is Sandra? \tkitchen\t1\n"
)


def test_each_question_becomes_a_record():
    stories = parse_stories(TEXT)
    assert [len(story.questions()) for story in stories] == [2, 1]
    second = stories[0].questions()[1]
    assert second.facts == (
        "Mary went to the office.",
        "John moved to the garden.",
        "Mary moved to the garden.",
    )
    assert second.fact_numbers == (1, 2, 4)
    assert (second.question, second.answer) == ("Where is Mary? ", "garden")
    assert second.supporting == (4, 2)
    assert second.supporting_facts == ("Mary moved to the garden.", "John moved to the garden.")


def test_writing_undoes_reading():
    assert format_stories(parse_stories(TEXT)) == TEXT


def test_windows_line_ends_are_read():
    assert parse_stories(TEXT.replace("\n", "\r\n")) == parse_stories(TEXT)


def test_the_reference_loses_the_last_question(tmp_path):
    path = tmp_path / "qa1.txt"
    _ = path.write_text(TEXT)
    every = read_questions(path)
    assert len(every) == 3
    assert read_questions(path, reference_compat=True) == every[:-1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("1 A fact.\nx Another fact.\n", "line 2: a line is a number"),
        ("1 A fact.\n2\n", "line 2: a line is a number"),
        ("2 A fact.\n", "line 1: the first story must begin with line 1. Got 2"),
        ("1 A fact.\n3 A fact.\n2 A fact.\n", "line 3: ids must rise"),
        ("1 A fact.\n2 Where is it? \n", "line 2: a question needs a tab"),
        ("1 A fact.\n2 Where is it? \there\n", "line 2: after a question come"),
        ("1 A fact.\n2 Where is it? \t\t1\n", "line 2: after a question come"),
        ("1 A fact.\n2 Where is it? \there\tone\n", "line 2: supporting ids must be numbers"),
        ("1 A fact.\n2 Where is it? \there\t9\n", "line 2: supporting id 9 .* facts: 1"),
        ("1 A.\n2 Where? \there\t1\n3 Where? \there\t2\n", "line 3: supporting id 2"),
        ("1 A fact.\n2 A \0 fact.\n", "line 2: binary content"),
        ("1 A fact.\n2 Another fa", "line 2: the text ends inside of a line, 'Another fa'"),
        ("1 A fact.\n2 Where is it? \there\t", "line 2: the text ends inside of a line"),
    ],
)
def test_corrupt_text_is_told_with_its_line(text, message):
    with pytest.raises(DataError, match=message):
        _ = parse_stories(text)


def test_unreadable_files_are_told(tmp_path):
    path = tmp_path / "binary.txt"
    _ = path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="not UTF-8"):
        _ = read_stories(path)
    with pytest.raises(DataError, match="Check the path"):
        _ = read_stories(tmp_path / "none.txt")


def test_all_real_files_survive_a_round_trip(shared_data):
    paths = sorted((shared_data / "babi" / "en").glob("*_train.txt"))
    assert len(paths) == 20
    for path in paths:
        stories = read_stories(path)
        assert sum(len(story.questions()) for story in stories) == 1000, path.name
        assert format_stories(stories) == path.read_text(), path.name
