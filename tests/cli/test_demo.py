import itertools
from dataclasses import replace

import pytest

from armt.cli import demo as module
from armt.cli.hidden_facts import hide_facts
from armt.core.registry import Card
from armt.recipes.registry import RECIPES
from armt.recipes.smoke import smoke
from armt.serving import folders
from armt.tasks.babi.world import PEOPLE
from armt.tasks.babilong.corpus import embedded_books
from tiny_boxed import tiny_boxed


@pytest.fixture(autouse=True)
def few_books(monkeypatch):
    """Leaves a few of the books that come with Python, some of them for testing."""
    books = list(itertools.islice(embedded_books(), 25))
    monkeypatch.setattr("armt.cli.hidden_facts.embedded_books", lambda: iter(books))
    monkeypatch.setattr("armt.tasks.babilong.corpus.embedded_books", lambda: iter(books))


def one_step_of_smoke():
    """The smoke recipe with one step, of its first stage."""
    run = smoke()
    first = replace(run.stages[0], num_steps=1, batch_size=4)
    return replace(run, stages=(first,), log_every=1)


@pytest.fixture
def small_demo(monkeypatch, model, tmp_path):
    """Makes the demo short and puts a tiny random model into the box."""
    box = tmp_path / "box"
    box.mkdir()
    (box / folders.BOXED_NAME).symlink_to(model)
    monkeypatch.setattr(folders, "BOXED_FOLDER", box)
    monkeypatch.setattr(module, "NUM_TOKENS", 700)
    monkeypatch.setattr(module, "LENGTHS", (0, 400))
    monkeypatch.setattr(module, "NUM_SAMPLES", 2)
    _ = RECIPES["smoke"]
    card = Card(name="smoke", entry=one_step_of_smoke)
    monkeypatch.setitem(RECIPES._cards, "smoke", card)


def test_the_demo_runs_through_and_tells_wrong_answers(run, small_demo, tmp_path):
    result = run("demo", "--out", tmp_path / "out")
    assert result.exit_code == 1, result.output
    num_pairs = smoke().stages[0].stream.num_pairs
    assert f"{num_pairs} pairs (as trained): exact match" in result.stdout
    assert f"{4 * num_pairs} pairs (4 times as many): exact match" in result.stdout
    for person in PEOPLE:
        assert f"Where is {person}?" in result.stdout
    assert "4 answers were wrong." in result.stdout
    assert "| qa1 | memory off | exact |" in result.stdout
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names >= {"table.md", "table.csv", "heatmap.png", "records.jsonl"}


def test_the_demo_is_content_when_all_is_right(run, small_demo, monkeypatch, tmp_path):
    truths = {}
    hide = hide_facts

    def remember(*args, **options):
        hidden = hide(*args, **options)
        truths.update(hidden.places)
        return hidden

    def answer(boxed, state, question):
        return truths[question.split()[-1].removesuffix("?")]

    monkeypatch.setattr("armt.cli.hidden_facts.hide_facts", remember)
    monkeypatch.setattr("armt.serving.answer.answer_question", answer)
    result = run("demo", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output


def test_the_facts_are_in_the_text_in_their_order_and_the_last_counts(tmp_path):
    encoder = tiny_boxed().encoder
    path = tmp_path / "book.txt"
    hidden = hide_facts(path, encoder, 5000)
    text = " ".join(path.read_text().split())
    start = 0
    for fact in hidden.facts:
        start = text.index(fact, start) + len(fact)
    for person, place in hidden.places.items():
        last = [fact for fact in hidden.facts if fact.startswith(person)][-1]
        assert last.endswith(f"the {place}.")
    assert len(encoder.encode(" " + text)) == hidden.num_tokens
    assert 5000 <= hidden.num_tokens < 7000
    assert hide_facts(tmp_path / "again.txt", encoder, 5000) == hidden
    assert hide_facts(tmp_path / "other.txt", encoder, 5000, seed=1) != hidden
