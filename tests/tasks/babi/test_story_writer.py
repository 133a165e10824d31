from armt.tasks.babi.format import StoryLine
from armt.tasks.babi.story_writer import StoryWriter


def test_facts_and_questions_are_numbered_together():
    writer = StoryWriter()
    assert [writer.tell("One."), writer.tell("Two.")] == [1, 2]
    writer.ask("Which? ", "two", [2])
    assert writer.tell("Three.") == 4
    assert writer.num_questions == 1
    assert writer.story().lines == (
        StoryLine(number=1, text="One."),
        StoryLine(number=2, text="Two."),
        StoryLine(number=3, text="Which? ", answer="two", supporting=(2,)),
        StoryLine(number=4, text="Three."),
    )
