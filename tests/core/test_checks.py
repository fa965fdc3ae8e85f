"""dm2.core.checks: shapes are refused with what was found and what was expected."""

import numpy as np
import pytest
import torch

from dm2.core.checks import check_shape


@pytest.mark.parametrize("array", [torch.zeros(2, 3), np.zeros((2, 3))])
def test_fitting_shapes_pass_and_others_are_named(array):
    check_shape("x", array, (2, 3))
    check_shape("x", array, (None, 3))
    with pytest.raises(ValueError, match=r"x: found shape \[2, 3\], expected \[any, 4\]"):
        check_shape("x", array, (None, 4))
    with pytest.raises(ValueError, match=r"expected \[2, 3, 1\]"):
        check_shape("x", array, (2, 3, 1))
