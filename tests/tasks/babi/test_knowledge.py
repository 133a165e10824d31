import pytest

from armt.tasks.babi.carrying_world import Drop, Get, Give, Move
from armt.tasks.babi.knowledge import Gift, Known, Reader, Visit

MARY_GETS, MARY_DROPS = Get("Mary", "milk"), Drop("Mary", "milk")
IN_OFFICE, IN_GARDEN, IN_KITCHEN = (
    Move("Mary", place) for place in ("office", "garden", "kitchen")
)


def reader_of(*events):
    reader = Reader()
    for line, event in enumerate(events, start=1):
        reader.read(line, event)
    return reader


def test_a_person_is_where_the_latest_move_led():
    reader = reader_of(IN_OFFICE, Move("John", "garden"), IN_KITCHEN)
    assert reader.place_of_person("Mary") == Known("kitchen", (3,))
    assert reader.place_of_person("Sandra") is None


@pytest.mark.parametrize(
    ("events", "known"),
    [
        ([MARY_GETS, IN_OFFICE], Known("office", (1, 2))),
        ([MARY_GETS, IN_OFFICE, IN_GARDEN], Known("garden", (1, 3))),
        ([IN_OFFICE, MARY_GETS], None),
        ([IN_OFFICE, MARY_GETS, MARY_DROPS], Known("office", (3, 1))),
        ([IN_OFFICE, MARY_GETS, IN_GARDEN, MARY_DROPS, IN_KITCHEN], Known("garden", (4, 3))),
        ([MARY_GETS, MARY_DROPS], None),
        ([IN_OFFICE], None),
        ([MARY_GETS, IN_OFFICE, MARY_DROPS, Get("John", "milk")], None),
    ],
)
def test_place_of_an_object(events, known):
    assert reader_of(*events).place_of_thing("milk") == known


def test_where_an_object_was_carried():
    events = [IN_OFFICE, MARY_GETS, IN_GARDEN, Move("John", "office"), IN_KITCHEN]
    carried = [Visit(3, "garden"), Visit(5, "kitchen")]
    assert reader_of(*events).carried_to("milk") == carried
    assert reader_of(*events, MARY_DROPS, IN_OFFICE).carried_to("milk") == carried
    assert reader_of(*events, MARY_DROPS, Get("John", "milk")).carried_to("milk") == []
    assert reader_of(IN_OFFICE).carried_to("milk") == []


def test_gifts_and_all_that_a_person_did_with_objects():
    gift, back = Give("Mary", "milk", "John"), Give("John", "milk", "Mary")
    other = Get("Sandra", "apple")
    reader = reader_of(MARY_GETS, other, gift, IN_OFFICE, back, MARY_DROPS)
    assert reader.latest_gift("milk") == Gift(5, back)
    assert reader.latest_gift("apple") is None
    assert [line for line, _ in reader.touching("Mary")] == [1, 3, 5, 6]
    assert [line for line, _ in reader.touching("John")] == [3, 5]
    latest = reader.latest_handling("milk")
    assert latest is not None
    assert latest.line == 6
    assert reader.latest_handling("football") is None
