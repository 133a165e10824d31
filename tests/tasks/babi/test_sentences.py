from collections import Counter

from armt.tasks.babi import sentences
from armt.tasks.babi.dice import Dice


def drawn(make, count=4000):
    dice = Dice("sentences")
    return Counter(make(dice) for _ in range(count))


def check_shares(counts, shares):
    assert set(counts) == set(shares)
    for text, share in shares.items():
        spread = (share * (1 - share) * counts.total()) ** 0.5
        assert abs(counts[text] - share * counts.total()) < 4 * spread, text


def test_moves():
    found = drawn(lambda dice: sentences.move_text(dice, "Mary", "garden"))
    verbs = ("went", "journeyed", "travelled", "moved", "went back")
    check_shares(found, {f"Mary {verb} to the garden.": 0.2 for verb in verbs})


def test_there_always_ends_a_get_except_in_task_3():
    found = drawn(lambda dice: sentences.get_text(dice, "John", "milk"))
    verbs = ("got", "took", "grabbed", "picked up")
    check_shares(found, {f"John {verb} the milk there.": 0.25 for verb in verbs})
    found = drawn(lambda dice: sentences.get_text(dice, "John", "milk", there_share=0.2))
    shares = {f"John {verb} the milk.": 0.2 for verb in verbs}
    check_shares(found, shares | {f"John {verb} the milk there.": 0.05 for verb in verbs})


def test_there_ends_a_fifth_of_the_drops():
    found = drawn(lambda dice: sentences.drop_text(dice, "John", "milk"))
    verbs = ("dropped", "left", "discarded", "put down")
    shares = {f"John {verb} the milk.": 0.2 for verb in verbs}
    check_shares(found, shares | {f"John {verb} the milk there.": 0.05 for verb in verbs})


def test_gifts():
    found = drawn(lambda dice: sentences.give_text(dice, "Fred", "apple", "Jeff"))
    check_shares(
        found, {f"Fred {verb} the apple to Jeff.": 1 / 3 for verb in ("gave", "passed", "handed")}
    )


def test_half_of_the_places_asked_for_are_right():
    found = drawn(lambda dice: sentences.draw_is_in(dice, "Mary", "office"))
    wrong = [place for place in sentences.PLACES if place != "office"]
    shares = {(f"Is Mary in the {place}? ", "no"): 0.1 for place in wrong}
    check_shares(found, shares | {("Is Mary in the office? ", "yes"): 0.5})


def test_questions_and_pronouns():
    assert sentences.where_is_person("Mary") == "Where is Mary? "
    assert sentences.where_is_thing("milk") == "Where is the milk? "
    question = sentences.where_was_thing("milk", "office")
    assert question == "Where was the milk before the office? "
    people = (*sentences.PEOPLE, *sentences.GIVING_PEOPLE, *sentences.GUESSING_PEOPLE)
    women = {person for person in people if sentences.pronoun(person) == "she"}
    assert women == {"Mary", "Sandra", "Julie"}
