import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from armt.core.errors import StorageError
from armt.tasks.babilong import BabilongTaskConfig
from armt.tasks.babilong.text_files import stripped, write_text_file


@given(st.lists(st.text(alphabet=" \n\tab", max_size=5)))
def test_only_the_ends_are_stripped(pieces):
    found = list(stripped(pieces))
    assert "".join(found) == "".join(pieces).strip()
    assert all(found)


def test_a_file_is_a_list_of_inputs_questions_and_targets(store, encoder, tmp_path):
    task = BabilongTaskConfig().build(store, encoder)
    samples = [task.sample("1k", index) for index in range(3)]
    path = tmp_path / "qa1" / "1k.json"
    assert write_text_file(path, samples) == 3
    rows = json.loads(path.read_text())
    assert [set(row) for row in rows] == [{"input", "question", "target"}] * 3
    for row, sample in zip(rows, samples, strict=True):
        assert row["input"] == "".join(sample.text()).strip()
        assert row["question"] == sample.question
        assert row["target"] == sample.answer


def test_no_samples_are_an_empty_list(tmp_path):
    assert write_text_file(tmp_path / "none.json", []) == 0
    assert json.loads((tmp_path / "none.json").read_text()) == []


def test_a_long_text_is_never_held(store, encoder, tmp_path):
    sample = BabilongTaskConfig().build(store, encoder).sample("200k", 0)
    path = tmp_path / "200k.json"
    tracemalloc.start()
    _ = write_text_file(path, [sample])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 4e5
    assert peak < 3e6


def test_a_file_that_cannot_be_finished_is_not_begun(store, encoder, tmp_path):
    task = BabilongTaskConfig().build(store, encoder)
    path = tmp_path / "1k.json"

    def samples():
        yield task.sample("1k", 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _ = write_text_file(path, samples())
    assert list(tmp_path.iterdir()) == []
    _ = (tmp_path / "file").write_text("")
    with pytest.raises(StorageError):
        _ = write_text_file(tmp_path / "file" / "1k.json", [])
