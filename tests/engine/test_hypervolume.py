"""Areas that can be counted by hand."""

import pytest

from edgenas.engine.hypervolume import hypervolumes


def test_a_staircase_covers_its_steps() -> None:
    areas = hypervolumes({"steps": [(0, 4), (1, 2), (4, 0), (3, 3)], "corner": [(4, 4)], "best": [(0, 0)]})
    # of 16 squares: (1, 2) dominates 3 x 2; (0, 4) and (4, 0) lie on the edge, (3, 3) behind
    assert areas == pytest.approx({"steps": 6 / 16, "corner": 0.0, "best": 1.0})


def test_units_do_not_matter_and_equal_points_cover_all() -> None:
    in_ms = hypervolumes({"a": [(8.0, 0.1), (9.0, 0.05)], "b": [(10.0, 0.2)]})
    in_us = hypervolumes({"a": [(8.0, 100.0), (9.0, 50.0)], "b": [(10.0, 200.0)]})
    assert in_ms == pytest.approx(in_us)
    assert hypervolumes({"one": [(1.0, 1.0)]}) == {"one": 1.0}
