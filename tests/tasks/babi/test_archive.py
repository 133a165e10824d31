"""Official files in folders and zips, whole and damaged."""

import random
import zipfile

import pytest

from armt.core.errors import DataError, UnknownNameError
from armt.tasks.babi.archive import (
    official_questions,
    zero_length_nbytes,
    zero_length_questions,
)

STORY = (
    "1 Mary went to the office.\n"
    "2 Where is Mary? \toffice\t1\n"
    "3 Mary went to the garden.\n"
    "4 Where is Mary? \tgarden\t3\n"
)
NAME = "qa1_single-supporting-fact_test.txt"
ZERO_LENGTH_NBYTES = {
    "qa1": (213760, 213760), "qa2": (495413, 494743), "qa3": (1492547, 1490656),
    "qa4": (118470, 118351), "qa5": (594595, 593796), "qa6": (226087, 226087),
    "qa7": (319741, 319741), "qa8": (302368, 302368), "qa9": (213664, 213664),
    "qa10": (223169, 223169), "qa11": (237344, 236952), "qa12": (274200, 273759),
    "qa13": (272366, 271946), "qa14": (369629, 369084), "qa15": (221595, 221374),
    "qa16": (190334, 190142), "qa17": (152640, 152474), "qa18": (311068, 310821),
    "qa19": (240496, 240256), "qa20": (181362, 181138),
}  # fmt: skip
"""Of the train files: all 1000 questions, and those a `0k` set would have."""


@pytest.fixture
def folder(tmp_path):
    """A folder like the official one, with two sizes."""
    for variant, story in (("en", STORY), ("en-10k", STORY.replace("Mary", "John"))):
        place = tmp_path / "tasks" / "tasks_1-20_v1-2" / variant
        place.mkdir(parents=True)
        _ = (place / NAME).write_text(story)
        _ = (place / NAME.replace("qa1_", "qa11_")).write_text("no story")
    return tmp_path / "tasks"


@pytest.fixture
def zipped(folder, tmp_path):
    """The same folder as a zip, entries for the folders and a Mac's litter included."""
    path = tmp_path / "babi.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*")):
            archive.write(each, each.relative_to(folder))
        archive.writestr(f"__MACOSX/en/._{NAME}", b"\0\1")
    return path


def make_zip(path, *entries):
    with zipfile.ZipFile(path, "w") as archive:
        for name in entries:
            archive.writestr(zipfile.ZipInfo(name), STORY)
    return path


@pytest.mark.parametrize("source", ["folder", "zipped"])
def test_a_variant_is_read_where_it_lies(source, request):
    source = request.getfixturevalue(source)
    questions = official_questions(source, "qa1", "test", variant="en-10k")
    assert [question.question for question in questions] == ["Where is John? "] * 2
    questions = official_questions(source, "qa1", "test", variant="tasks_1-20_v1-2/en")
    assert [question.answer for question in questions] == ["office", "garden"]
    less = official_questions(source, "qa1", "test", variant="en", reference_compat=True)
    assert less == questions[:1]


@pytest.mark.parametrize("source", ["folder", "zipped"])
def test_nothing_is_chosen_silently(source, request):
    source = request.getfixturevalue(source)
    with pytest.raises(DataError, match=r"holds 2 files of qa1 test, in .*en', .*en-10k'"):
        _ = official_questions(source, "qa1", "test")
    with pytest.raises(DataError, match=r"in no folder 'hn'. Give one of: .*en', .*en-10k'"):
        _ = official_questions(source, "qa1", "test", variant="hn")
    with pytest.raises(DataError, match="holds no file of qa1 train"):
        _ = official_questions(source, "qa1", "train", variant="en")


def test_files_directly_in_the_folder_need_no_variant(folder):
    direct = folder / "tasks_1-20_v1-2" / "en"
    assert len(official_questions(direct, "qa1", "test")) == 2
    assert len(official_questions(direct, "qa1", "test", variant="en")) == 2
    with pytest.raises(DataError, match="in no folder 'en-10k'"):
        _ = official_questions(direct, "qa1", "test", variant="en-10k")


def test_wrong_names_are_told(folder, tmp_path):
    with pytest.raises(UnknownNameError, match="qa0"):
        _ = official_questions(folder, "qa0", "test")
    with pytest.raises(DataError, match=r"'train' or 'test'\. Got 'valid'"):
        _ = official_questions(folder, "qa1", "valid")
    with pytest.raises(DataError, match="Check the path"):
        _ = official_questions(tmp_path / "none", "qa1", "test")
    with pytest.raises(DataError, match="is no zip or is damaged"):
        _ = official_questions(folder / "tasks_1-20_v1-2" / "en" / NAME, "qa1", "test")


@pytest.mark.parametrize(
    "name", [f"/tmp/{NAME}", f"../{NAME}", f"en/../../{NAME}", f"en\\{NAME}", f"C:/{NAME}"]
)
def test_paths_out_of_a_zip_are_refused(name, tmp_path):
    path = make_zip(tmp_path / "odd.zip", f"en/{NAME}", name)
    with pytest.raises(DataError, match="leads outside of it") as caught:
        _ = official_questions(path, "qa1", "test", variant="en")
    assert "\n" not in str(caught.value)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["odd.zip"]


def test_one_name_twice_is_refused(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = make_zip(tmp_path / "twice.zip", f"en/{NAME}", f"en/{NAME}")
    with pytest.raises(DataError, match="holds 2 files"):
        _ = official_questions(path, "qa1", "test", variant="en")


def test_a_folder_with_the_name_of_a_file_is_none(tmp_path):
    path = make_zip(tmp_path / "folder.zip", f"en/{NAME}/")
    with pytest.raises(DataError, match="holds no file"):
        _ = official_questions(path, "qa1", "test")


def test_an_encrypted_file_is_told(tmp_path):
    path = make_zip(tmp_path / "locked.zip", f"en/{NAME}")
    raw = bytearray(path.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\1\2") + 8] |= 1
    _ = path.write_bytes(raw)
    with pytest.raises(DataError, match="is encrypted"):
        _ = official_questions(path, "qa1", "test")


def test_a_zip_cut_anywhere_is_told(zipped):
    raw = zipped.read_bytes()
    for length in range(0, len(raw) - 1, 7):
        _ = zipped.write_bytes(raw[:length])
        with pytest.raises(DataError) as caught:
            _ = official_questions(zipped, "qa1", "test", variant="en")
        assert "\n" not in str(caught.value)


def test_flipped_bits_are_told_or_harmless(zipped):
    raw = zipped.read_bytes()
    right = official_questions(zipped, "qa1", "test", variant="en")
    dice = random.Random(5)
    num_told = 0
    for _ in range(600):
        damaged = bytearray(raw)
        for _ in range(dice.randint(1, 3)):
            damaged[dice.randrange(len(raw))] ^= 1 << dice.randrange(8)
        _ = zipped.write_bytes(damaged)
        try:
            questions = official_questions(zipped, "qa1", "test", variant="en")
        except DataError:
            num_told += 1
        else:
            assert questions == right
    assert num_told > 100


@pytest.mark.parametrize("length", range(1, len(STORY)))
def test_a_file_cut_inside_of_a_line_is_told(length, tmp_path):
    path = tmp_path / NAME
    _ = path.write_text(STORY[:length])
    if STORY[:length].endswith((".", ".\n", "\t1", "\t1\n", "\t3")):
        assert len(official_questions(tmp_path, "qa1", "test")) == STORY[:length].count("?")
    else:
        with pytest.raises(DataError, match=rf"{NAME}, line \d"):
            _ = official_questions(tmp_path, "qa1", "test")


def test_bytes_that_are_no_text_are_told(tmp_path):
    _ = (tmp_path / NAME).write_bytes(STORY.encode() + b"\xff")
    with pytest.raises(DataError, match="is not UTF-8"):
        _ = official_questions(tmp_path, "qa1", "test")


@pytest.mark.parametrize("task", ZERO_LENGTH_NBYTES)
def test_zero_length_sets_have_the_size_of_the_rule(task, shared_data):
    questions = official_questions(shared_data / "babi", task, "train", variant="en")
    published = zero_length_questions(questions, task)
    assert (len(questions), len(published)) == (
        1000,
        1000 if task in ("qa1", "qa6", "qa7", "qa8", "qa9", "qa10") else 999,
    )
    sizes = zero_length_nbytes(questions), zero_length_nbytes(published)
    assert sizes == ZERO_LENGTH_NBYTES[task]


def test_sizes_count_each_text_of_a_row(tmp_path):
    _ = (tmp_path / NAME).write_text(STORY)
    questions = official_questions(tmp_path, "qa1", "test")
    first = len("Mary went to the office.") + len("Where is Mary? ") + len("office") + 12
    second = len(" Mary went to the garden.") + first
    assert zero_length_nbytes(questions) == first + second
