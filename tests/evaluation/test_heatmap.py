import numpy as np
import pytest
from matplotlib.image import imread

from armt.core.errors import ConfigError
from armt.evaluation.heatmap import draw_heatmap
from evaluation.records import cell


def has_colour(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    """Whether a good part of the picture has the colour."""
    is_near = (np.abs(255 * picture[..., :3] - np.asarray(colour)) < 3).all(axis=-1)
    return bool(is_near.mean() > 0.02)


def test_the_colours_tell_right_from_wrong(tmp_path):
    path = tmp_path / "map.png"
    draw_heatmap([*cell(4, 4, length=0), *cell(0, 4, length=1000)], path, title="a model")
    picture = imread(path)
    assert has_colour(picture, (0x34, 0xA8, 0x53))
    assert has_colour(picture, (255, 0, 0))
    assert not has_colour(picture, (255, 255, 0))


def test_each_arm_has_a_panel(tmp_path):
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    draw_heatmap(cell(2, 4), one)
    draw_heatmap([*cell(2, 4), *cell(0, 4, arm="off")], two)
    assert imread(two).shape[1] == 2 * imread(one).shape[1]
    assert has_colour(imread(one), (255, 255, 0))


def test_cells_without_a_record_are_grey(tmp_path):
    path = tmp_path / "map.png"
    draw_heatmap([*cell(4, 4, length=0), *cell(4, 4, task="qa2", length=1000)], path)
    assert has_colour(imread(path), (0xDD, 0xDD, 0xDD))


def test_other_endings_and_nothing_to_draw_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="ends in"):
        draw_heatmap(cell(1, 1), tmp_path / "map.doc")
    with pytest.raises(ConfigError, match="no record to draw"):
        draw_heatmap([], tmp_path / "map.png")
    assert list(tmp_path.iterdir()) == []


def test_vectors_too(tmp_path):
    draw_heatmap(cell(1, 2), tmp_path / "map.pdf")
    assert (tmp_path / "map.pdf").read_bytes().startswith(b"%PDF")
