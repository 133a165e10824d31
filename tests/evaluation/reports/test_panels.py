import numpy as np
import pytest
from matplotlib.image import imread

from armt.core.errors import ConfigError
from armt.evaluation.reports.panels import Panel, draw_panels, panels_figure


def panel(*values: tuple[float, ...]) -> Panel:
    rows = tuple(f"qa{number}" for number in range(1, len(values) + 1))
    return Panel("a model", "instruction", rows, tuple("abcdef"[: len(values[0])]), values)


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    is_near = (np.abs(255 * picture[..., :3] - np.asarray(colour)) < 3).all(axis=-1)
    return bool(is_near.mean() > 0.02)


def test_the_colours_tell_right_from_wrong_and_missing_is_grey(tmp_path):
    draw_panels([panel((0.0, 50.0), (100.0, -1.0))], tmp_path / "map.png")
    picture = imread(tmp_path / "map.png")
    for colour in ((255, 0, 0), (255, 255, 0), (0x34, 0xA8, 0x53), (0xDD, 0xDD, 0xDD)):
        assert has_colour(picture, colour), colour


def test_numbers_are_whole_and_missing_ones_are_not_written():
    [axes] = panels_figure([panel((49.6, -1.0))]).axes
    assert [text.get_text() for text in axes.texts] == ["instruction", "50"]


def test_panels_are_as_large_as_those_of_the_reference():
    figure = panels_figure([panel((1.0,)), panel((1.0,))])
    assert tuple(figure.get_size_inches()) == (10.0, 3.5)
    assert len(figure.axes) == 2


def test_nothing_to_draw_and_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no result to draw"):
        draw_panels([], tmp_path / "map.png")
    with pytest.raises(ConfigError, match="ends in"):
        draw_panels([panel((1.0,))], tmp_path / "map.doc")
    assert list(tmp_path.iterdir()) == []
