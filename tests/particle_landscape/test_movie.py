"""Movies: the scene opens what is there, the picture moves with the maps."""

import numpy as np
from chimerax_grammar import Scene
from matplotlib.image import imread

from alphacryo4d.io.mrc import write_volume
from alphacryo4d.particle_landscape.movie import grey_ranges, views_of
from alphacryo4d.particle_landscape.movie_stage import write_movie


def blob(at, edge=24):
    axis = np.arange(edge)
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.exp(-((x - at) ** 2 + (y - 12) ** 2 + (z - 12) ** 2) / 8.0).astype(np.float32)


def test_views_are_slices_and_projections():
    volume = np.arange(4 * 4 * 4, dtype=np.float32).reshape(4, 4, 4)
    views = views_of(volume)
    np.testing.assert_array_equal(views[0], volume[2])
    np.testing.assert_array_equal(views[1], volume[:, 2])
    np.testing.assert_array_equal(views[5], volume.sum(axis=2))
    slices, projections = grey_ranges([views])
    assert 0 <= slices[0] < slices[1] <= 63
    assert projections[0] < projections[1] <= views[3:].max()


def test_the_scene_morphs_through_all_maps_and_the_picture_has_a_frame_for_each(tmp_path):
    maps = [write_volume(tmp_path / f"volume_{n:03d}.mrc", blob(5 + 5 * n), 2.0) for n in (1, 2, 3)]
    scene, picture = write_movie(maps, tmp_path, "movie")
    opened = Scene(tmp_path).run(scene.read_text())
    assert list(opened.files.values()) == maps
    assert list(opened.morphs.values()) == [[1, 2, 3]]
    assert 0 < opened.levels[1][0] < 1
    content = picture.read_bytes()
    assert content.startswith(b"GIF89a")
    assert content.count(b"\x21\xf9\x04") == 4  # three frames and one on the way back
    assert imread(picture, format="gif").ndim == 3
