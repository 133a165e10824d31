import hashlib
import textwrap

import pytest

from armt.core.errors import DataError
from armt.tasks.babilong import reference_prompts
from armt.tasks.babilong.prompts import TEMPLATE
from armt.tasks.babilong.reference_prompts import load_reference_prompts

# A file of the reference's shape with other words in it.
SOURCE = """
import os
DEFAULT_TEMPLATE = "{instruction}\\n\\n{examples}\\n\\n{post_prompt}\\n\\n" \\
    "<context>\\n{context}\\n</context>\\n\\nQuestion: {question}"
os.environ["RAN"] = "yes"

def get_formatted_input(context, question):
    raise SystemExit

DEFAULT_PROMPTS = {
    'qa1': {
        'instruction':
            'Find the person. '
            "Don't guess.",
        'examples':
            '<example>\\n'
            'A went to b. Where is A?\\n'
            'Answer: b\\n'
            '</example>',
        'post_prompt': 'The place of ’person’.',
    },
    'qa2': {'instruction': 'Find.', 'examples': '', 'post_prompt': ''},
}
"""


def digits(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "prompts.py"
    _ = path.write_text(SOURCE, encoding="utf-8")
    return path


def test_the_strings_are_read_and_nothing_is_run(source, monkeypatch):
    monkeypatch.delenv("RAN", raising=False)
    found = load_reference_prompts(source)
    prompt = found.book["qa1"]
    assert found.book.tasks == ("qa1", "qa2")
    assert prompt.instruction == "Find the person. Don't guess."
    assert prompt.examples == "<example>\nA went to b. Where is A?\nAnswer: b\n</example>"
    assert prompt.post_prompt == "The place of ’person’."
    assert prompt.template == TEMPLATE
    assert "RAN" not in reference_prompts.os.environ


def test_other_words_are_told_apart_from_the_known_ones(source, monkeypatch):
    found = load_reference_prompts(source)
    assert not found.is_known
    assert found.unknown == ("qa1", "qa2")
    prompt = found.book["qa1"]
    parts = (prompt.instruction, prompt.examples, prompt.post_prompt)
    known = {"qa1": " ".join(digits(part) for part in parts)}
    monkeypatch.setattr(reference_prompts, "_KNOWN_HASHES", known)
    assert load_reference_prompts(source).unknown == ("qa2",)


def test_the_published_hashes_are_those_of_the_strings():
    # Two strings of the reference that are too short to be anybody's work, by their hashes.
    assert digits(TEMPLATE) == "cf4ab7f25f69"
    known = reference_prompts._KNOWN_HASHES
    assert list(known) == [f"qa{number}" for number in range(1, 21)]
    assert all(len(hashes.split()) == 3 for hashes in known.values())


def test_another_template_is_told(source):
    _ = source.write_text(SOURCE.replace("Question:", "Q:"), encoding="utf-8")
    assert "template" in load_reference_prompts(source).unknown


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "defines no DEFAULT_TEMPLATE"),
        ("x = 1", "defines no DEFAULT_TEMPLATE"),
        ("DEFAULT_TEMPLATE = '{context} {question}'", "defines no DEFAULT_TEMPLATE"),
        ("DEFAULT_TEMPLATE = f()\nDEFAULT_PROMPTS = {}", "defines no DEFAULT_TEMPLATE"),
        ("DEFAULT_TEMPLATE = 'x'\nDEFAULT_PROMPTS = {'qa1': 3}", "no table"),
        ("DEFAULT_TEMPLATE = 'x'\nDEFAULT_PROMPTS = {'qa1': {'examples': ''}}", "lacks one"),
        (
            "DEFAULT_TEMPLATE = 'x'\nDEFAULT_PROMPTS = "
            "{'qa1': {'examples': '', 'instruction': '', 'post_prompt': ''}}",
            "template",
        ),
        ("def f(:", "no Python text"),
        ("\0", "no Python text"),
        ("(" * 500, "no Python text"),
    ],
)
def test_a_foreign_file_is_refused(tmp_path, text, reason):
    path = tmp_path / "foreign.py"
    _ = path.write_text(textwrap.dedent(text))
    with pytest.raises(DataError, match=reason):
        _ = load_reference_prompts(path)


def test_a_binary_or_missing_file_is_refused(tmp_path):
    path = tmp_path / "foreign.py"
    _ = path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(DataError, match="no Python text"):
        _ = load_reference_prompts(path)
    with pytest.raises(DataError, match="Cannot read"):
        _ = load_reference_prompts(tmp_path / "missing.py")
