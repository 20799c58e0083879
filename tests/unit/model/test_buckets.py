"""Test buckets of values: C and Python agree, and estimates from them are right to a sixteenth."""

from __future__ import annotations

import ctypes
import random
import subprocess

import numpy as np
import pytest

from pytracer.bpf.compile.source import probes_folder
from pytracer.model.buckets import BUCKETS, ERROR, POWERS, bounds, by_power, percentiles

EDGES = [value for power in range(64) for value in ((1 << power) - 1, 1 << power, (1 << power) + 1)]


@pytest.fixture(scope="module")
def bucket_of(tmp_path_factory):
    """Return the bucket of a value by the rules of probes_c/include/log2.h."""
    folder = tmp_path_factory.mktemp("buckets")
    source = folder / "buckets.c"
    source.write_text(
        "#include <stdint.h>\ntypedef uint32_t u32;\ntypedef uint64_t u64;\n#define __always_inline inline\n"
        f'#include "{probes_folder() / "include" / "log2.h"}"\n'
        "u32 bucket(u64 v) { return pt_bucket(v); }\n"
    )
    library = folder / "buckets.so"
    subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
    function = ctypes.CDLL(str(library)).bucket
    function.argtypes, function.restype = [ctypes.c_uint64], ctypes.c_uint32
    return function


def test_every_value_has_the_bucket_that_the_c_puts_it_in(bucket_of):
    rng = random.Random(23)
    for value in EDGES + [rng.getrandbits(rng.randrange(1, 65)) for _ in range(1000)]:
        low, high = bounds(bucket_of(value))
        assert low <= value < high


def test_buckets_follow_each_other_to_the_end():
    edges = [bounds(bucket) for bucket in range(BUCKETS)]
    assert edges[0][0] == 0
    assert [low for low, _ in edges[1:]] == [high for _, high in edges[:-1]]
    assert edges[-1][1] == 1 << 64


def test_powers_of_two_are_their_parts_together(bucket_of):
    values = [value for value in EDGES if value < 1 << 63]
    counts = np.zeros((1, BUCKETS), np.uint64)
    expected = np.zeros(POWERS, np.uint64)
    for value in values:
        counts[0, bucket_of(value)] += np.uint64(1)
        expected[max(value.bit_length() - 1, 0)] += np.uint64(1)
    assert by_power(counts).tolist() == [expected.tolist()]


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
def test_percentiles_are_right_to_a_sixteenth(bucket_of, share):
    rng = random.Random(101)
    values = sorted(int(2 ** (40 * rng.random())) for _ in range(997))
    counts = np.zeros((1, BUCKETS), np.uint64)
    for value in values:
        counts[0, bucket_of(value)] += np.uint64(1)
    [percentile] = percentiles(counts, share, [values[-1]])
    exact = values[-(-int(share * 1000) * len(values) // 1000) - 1]
    assert abs(percentile - exact) <= ERROR * exact


def test_no_percentile_is_more_than_the_greatest():
    counts = np.zeros((2, BUCKETS), np.uint64)
    counts[:, 100] = 1
    low, high = bounds(100)
    assert percentiles(counts, 0.999, [low, high]) == [low, low + high - 1 >> 1]
