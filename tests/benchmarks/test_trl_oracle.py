"""Our gradient is TRL's on TRL's own batch, with clip and KL active, for both ways through the model."""

import pytest

pytest.importorskip("trl", reason="the extra `oracle` is not installed")

from benchmarks.grpo import gradient_error

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("path", ["tree", "prefix"])
def test_the_same_gradient(path):
    assert gradient_error(True, 24, path) < 1e-5


def test_trl_corrects_the_kl_unless_told_not_to():
    """Its default is not DeepSeekMath's formula; and the comparison notices a difference."""
    assert gradient_error(True, 24, "tree", use_bias_correction_kl=True) > 1e-4
