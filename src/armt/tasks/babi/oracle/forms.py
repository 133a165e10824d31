"""The forms and the words of the twenty tasks, as the official data have them."""

from collections.abc import Mapping

from armt.tasks.babi.oracle.grammar import Form, Grammar

_HOME = {
    "person": "Mary|John|Daniel|Sandra",
    "place": "bathroom|bedroom|garden|hallway|kitchen|office",
    "object": "apple|football|milk",
}
_GIVERS = {**_HOME, "person": "Mary|Fred|Bill|Jeff"}
_TOWN = {
    "person": "Bill|Fred|Julie|Mary",
    "place": "bedroom|cinema|kitchen|office|park|school",
    "when": "yesterday|this morning|this afternoon|this evening",
    "When": "Yesterday|This morning|This afternoon|This evening",
}
_KINDS = {
    "person": "Gertrude|Winona|Jessica|Emily",
    "name": "gertrude|winona|jessica|emily",
    "kind": "cat|mouse|sheep|wolf",
    "kinds": "cats|mice|sheep|wolves",
    "Kinds": "Cats|Mice|Sheep|Wolves",
}
_COLORED = {
    "person": "Lily|Bernhard|Greg|Julius|Brian",
    "kind": "swan|lion|frog|rhino",
    "color": "gray|white|yellow|green",
}
_MAP = {"place": _HOME["place"], "direction": "north|south|east|west"}
_SHAPES = {
    "shape": "triangle|blue square|pink rectangle|red square|red sphere|yellow square",
    "position": "above|below|to the left of|to the right of",
}
_BOXES = {"box": "chocolate|box of chocolates|chest|box|container|suitcase"}
_MOODS = {
    "person": "Jason|Antoine|Sumit|Yann",
    "name": "jason|antoine|sumit|yann",
    "mood": "hungry|thirsty|bored|tired",
    "place": "kitchen|garden|bedroom",
    "object": "apple|milk|football|pajamas",
}

_MOVE = Form("move", "{person} {moved} to the {place}.")
_GET = Form("get", "{person} {got} the {object}[ there].")
_DROP = Form("drop", "{person} {dropped} the {object}[ there].")
_GIVE = Form("give", "{person} {gave} the {object} to {person}.")
_IS_IN = Form("is in", "{person} is in the {place}.")
_IS_NOT_IN = Form("is not in", "{person} is {not} in the {place}.")
_EITHER = Form("either", "{person} is either in the {place} or the {place}.")
_BOTH = Form("both", "{person} and {person} {moved} to the {place}.")
_THEN_ONE = Form("then", "{then} {he} {moved} to the {place}.")
_THEN_BOTH = Form("then", "{then} they {moved} to the {place}.")
_NEIGHBOR = Form("relation", "The {place} is {direction} of the {place}.")

_WHERE = (Form("where", "Where is {person}?"),)
_IS_THERE = (Form("is there", "Is {person} in the {place}?"),)

GRAMMARS: Mapping[str, Grammar] = {
    "qa1": Grammar(words=_HOME, facts=(_MOVE,), questions=_WHERE),
    "qa2": Grammar(
        words=_HOME,
        facts=(_MOVE, _GET, _DROP),
        questions=(Form("where", "Where is the {object}?"),),
    ),
    "qa3": Grammar(
        words=_HOME,
        facts=(_MOVE, _GET, _DROP),
        questions=(Form("before", "Where was the {object} before the {place}?"),),
    ),
    "qa4": Grammar(
        words=_MAP,
        facts=(_NEIGHBOR,),
        questions=(
            Form("what is", "What is {direction} of the {place}?"),
            Form("is what", "What is the {place} {direction} of?"),
        ),
    ),
    "qa5": Grammar(
        words=_GIVERS,
        facts=(_MOVE, _GET, _DROP, _GIVE),
        questions=(
            Form("what", "What did {person} give to {person}?"),
            Form("giver to", "Who gave the {object} to {person}?"),
            Form("giver", "Who gave the {object}?"),
            Form("receiver", "Who received the {object}?"),
            Form("receiver from", "Who did {person} give the {object} to?"),
        ),
    ),
    "qa6": Grammar(words=_HOME, facts=(_MOVE, _GET, _DROP), questions=_IS_THERE),
    "qa7": Grammar(
        words=_HOME,
        facts=(_MOVE, _GET, _DROP, _GIVE),
        questions=(Form("how many", "How many objects is {person} carrying?"),),
    ),
    "qa8": Grammar(
        words=_HOME,
        facts=(_MOVE, _GET, _DROP),
        questions=(Form("what", "What is {person} carrying?"),),
    ),
    "qa9": Grammar(words=_HOME, facts=(_MOVE, _IS_IN, _IS_NOT_IN), questions=_IS_THERE),
    "qa10": Grammar(words=_TOWN, facts=(_MOVE, _IS_IN, _EITHER), questions=_IS_THERE),
    "qa11": Grammar(words=_HOME, facts=(_MOVE, _THEN_ONE), questions=_WHERE),
    "qa12": Grammar(words=_HOME, facts=(_BOTH,), questions=_WHERE),
    "qa13": Grammar(words=_HOME, facts=(_BOTH, _THEN_BOTH), questions=_WHERE),
    "qa14": Grammar(
        words=_TOWN,
        facts=(
            Form("when move", "{When} {person} {moved} to the {place}."),
            Form("move when", "{person} {moved} to the {place} {when}."),
        ),
        questions=(Form("before", "Where was {person} before the {place}?"),),
    ),
    "qa15": Grammar(
        words=_KINDS,
        facts=(
            Form("afraid", "{Kinds} are afraid of {kinds}."),
            Form("is a", "{person} is a {kind}."),
        ),
        questions=(Form("afraid", "What is {name} afraid of?"),),
    ),
    "qa16": Grammar(
        words=_COLORED,
        facts=(Form("is a", "{person} is a {kind}."), Form("color", "{person} is {color}.")),
        questions=(Form("color", "What color is {person}?"),),
    ),
    "qa17": Grammar(
        words=_SHAPES,
        facts=(Form("relation", "The {shape} is {position} the {shape}."),),
        questions=(Form("is it", "Is the {shape} {position} the {shape}?"),),
    ),
    "qa18": Grammar(
        words=_BOXES,
        facts=(
            Form("bigger", "The {box} is bigger than the {box}."),
            Form("smaller", "The {box} fits inside the {box}."),
        ),
        questions=(
            Form("bigger", "Is the {box} bigger than the {box}?"),
            Form("smaller", "Does the {box} fit in the {box}?"),
        ),
    ),
    "qa19": Grammar(
        words=_MAP,
        facts=(_NEIGHBOR,),
        questions=(Form("path", "How do you go from the {place} to the {place}?"),),
    ),
    "qa20": Grammar(
        words=_MOODS,
        facts=(
            Form("is", "{person} is {mood}."),
            Form("move", "{person} {moved} to the {place}."),
            Form("get", "{person} {got} the {object}[ there]."),
        ),
        questions=(
            Form("where", "Where will {name} go?"),
            Form("why go", "Why did {name} go to the {place}?"),
            Form("why get", "Why did {name} get the {object}?"),
        ),
    ),
}
"""The grammar of each task, by its short name."""
