"""Test the names of flags of memory allocations."""

from __future__ import annotations

import pytest

from pytracer.kernel.gfp_flags import name_gfp_flags


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (0, "0"),
        (0x1, "GFP_DMA"),
        (0xCC0, "GFP_KERNEL"),
        (0xDC0, "GFP_KERNEL|__GFP_ZERO"),
        (0x400CC0, "GFP_KERNEL_ACCOUNT"),
        (0x820, "GFP_ATOMIC"),
        (0xA20, "GFP_ATOMIC"),
        (0x92C00, "GFP_NOIO|__GFP_NOWARN|__GFP_NORETRY|__GFP_NOMEMALLOC"),
        (0x100CCA, "GFP_HIGHUSER_MOVABLE"),
        (0x8000CC0, "GFP_KERNEL|0x8000000"),
    ],
)
def test_sets_have_the_names_of_the_kernel(flags, names):
    assert name_gfp_flags(flags) == names
