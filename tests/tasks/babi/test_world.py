import numpy as np

from armt.tasks.babi.world import (
    MOVE_VERBS,
    NOWHERE,
    PEOPLE,
    PLACES,
    Moves,
    draw_moves,
    known_places,
    latest_moves,
)


def test_nobody_moves_to_where_he_is():
    moves = draw_moves(np.random.default_rng(0), 5000)
    where: dict[int, int] = {}
    for person, place in zip(moves.people, moves.places, strict=True):
        assert where.get(person) != place
        where[person] = place
    assert set(where) == set(range(len(PEOPLE)))


def test_frequencies():
    moves = draw_moves(np.random.default_rng(1), 20_000)
    same = (moves.people[1:] == moves.people[:-1]).mean()
    assert abs(same - 0.227) < 0.012
    for values, num_kinds in zip(moves, (len(PEOPLE), len(MOVE_VERBS), len(PLACES)), strict=True):
        shares = np.bincount(values, minlength=num_kinds) / len(values)
        assert np.abs(shares - 1 / num_kinds).max() < 0.015


def test_worlds_are_independent_rows():
    moves = draw_moves(np.random.default_rng(2), (300, 7))
    assert moves.people.shape == moves.verbs.shape == moves.places.shape == (300, 7)
    first = np.bincount(moves.places[:, 0], minlength=6)
    assert first.min() > 25
    for people, places in zip(moves.people, moves.places, strict=True):
        for person in range(len(PEOPLE)):
            own = places[people == person]
            assert (own[1:] != own[:-1]).all()


def test_what_is_known_after_each_move():
    people = np.asarray([1, 0, 1])
    assert latest_moves(people).tolist() == [
        [-1, -1, -1, -1],
        [-1, 0, -1, -1],
        [1, 0, -1, -1],
        [1, 2, -1, -1],
    ]
    known = known_places(Moves(people, np.zeros(3, dtype=np.int64), np.asarray([5, 0, 2])))
    assert known[:, 0].tolist() == [NOWHERE, NOWHERE, 0, 0]
    assert known[:, 1].tolist() == [NOWHERE, 5, 5, 2]


def test_a_batch_of_worlds_knows_what_each_world_knows():
    moves = draw_moves(np.random.default_rng(3), (4, 9))
    together = known_places(moves)
    for row in range(4):
        alone = known_places(Moves(*(array[row] for array in moves)))
        assert np.array_equal(together[row], alone)
