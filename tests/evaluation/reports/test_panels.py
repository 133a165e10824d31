import numpy as np
import pytest
from matplotlib.image import imread

from armt.core.errors import ConfigError
from armt.evaluation.reports.panels import Panel, draw_panels, panels_figure, record_panels
from evaluation.records import cell


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
    figure = panels_figure([panel((1.0,), (2.0,)), panel((1.0,), (2.0,))])
    assert tuple(figure.get_size_inches()) == (10.0, 3.5)
    assert len(figure.axes) == 2


def test_a_single_row_is_low():
    assert tuple(panels_figure([panel((1.0,))]).get_size_inches()) == (5.0, 2.3)


def test_records_have_a_panel_for_each_subject_and_arm():
    records = [
        *cell(1, 2, length=0),
        *cell(2, 2, task="qa2", length=4000),
        *cell(0, 2, arm="off", length=0),
        *cell(1, 1, subject="other", subject_fingerprint="ef", arm="none"),
    ]
    on, off, other = record_panels(records, "exact")
    assert (on.title, on.subtitle) == ("boxed", "memory on, exact")
    assert (on.rows, on.columns) == (("qa1", "qa2"), ("0k", "1k", "4k"))
    assert on.values == ((50.0, -1.0, -1.0), (-1.0, -1.0, 100.0))
    assert (off.subtitle, off.values) == ("memory off, exact", ((0.0, -1.0, -1.0),))
    assert (other.title, other.subtitle) == ("other", "exact")


def test_vectors_too(tmp_path):
    draw_panels([panel((1.0,))], tmp_path / "map.pdf")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")


def test_nothing_to_draw_and_other_endings_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="no result to draw"):
        draw_panels([], tmp_path / "map.png")
    with pytest.raises(ConfigError, match="ends in"):
        draw_panels([panel((1.0,))], tmp_path / "map.doc")
    assert list(tmp_path.iterdir()) == []
