"""The CUDA emulator: it finds planted bugs, and its kernels' correct twins pass."""

import numpy as np
import pytest
from emulator.build import HERE, build

KERNELS = HERE / "kernels"

THREADS = 128
SEEDS = range(4)

RACE = "race: (reads|writes) "
NO_BARRIER = ".* with no barrier in between"
DEADLOCK = "deadlock: "


def rotate(x):
    return np.roll(x[:THREADS], -1)


def first(x):
    return x[:THREADS]


def second(x):
    return x[THREADS:]


# What the kernel without its bug computes; how a checked build reports the bug; whether a build
# without checks notices it at all, by an error or a wrong result under some seed.
PLANTED = {
    "missing_barrier": (rotate, RACE + "shared memory" + NO_BARRIER, True),
    "missing_syncwarp": (
        lambda x: np.repeat(first(x).reshape(-1, 2).sum(1), 2),
        RACE + "shared memory" + NO_BARRIER,
        False,
    ),
    "missing_copy_wait": (rotate, RACE + "shared memory that an asynchronous copy", True),
    "buffer_reused_too_early": (
        lambda x: rotate(x) + rotate(second(x)),
        RACE + "shared memory" + NO_BARRIER,
        True,
    ),
    "returns_before_copy": (first, "returns before its cp.async copies have arrived", True),
    "shared_read_out_of_bounds": (rotate, "out of bounds: reads 4 bytes at offset 1024", True),
    "shared_write_out_of_bounds": (first, "out of bounds: writes 4 bytes at offset 1024", True),
    "global_read_out_of_bounds": (
        lambda x: rotate(second(x)),
        "out of bounds: reads 4 bytes of global memory, 0 bytes behind an array of 1024 bytes",
        False,
    ),
    "global_write_out_of_bounds": (
        lambda x: first(x)[::-1],
        "out of bounds: writes 4 bytes of global memory, 0 bytes behind an array of 512 bytes",
        True,
    ),
    "read_before_write": (
        lambda x: np.tile(x[:2], THREADS // 2),
        "reads shared memory that its block has not written",
        True,
    ),
    "lost_update": (
        lambda x: np.full(THREADS, first(x).sum()),
        RACE + "shared memory" + NO_BARRIER,
        False,
    ),
    "lost_update_between_blocks": (
        lambda x: first(x) + second(x),
        RACE + "global memory that another block of the launch wrote",
        False,
    ),
    "divergent_barrier": (first, "divergent barrier: some threads wait at .*planted", True),
    "barrier_of_some_threads": (
        first,
        DEADLOCK + "64 threads at a barrier that lacks threads; 64 threads returned",
        True,
    ),
    "wrong_barrier_count": (first, DEADLOCK + "64 threads at a barrier that lacks threads", True),
    "missing_lanes": (
        lambda x: first(x).reshape(-1, 2)[:, ::-1].ravel(),
        DEADLOCK + "64 threads in a warp collective that lacks lanes",
        True,
    ),
    "lane_outside_of_mask": (
        lambda x: np.where(
            np.arange(THREADS) % 32 < 16, x[np.arange(THREADS) // 32 * 32 + 15], first(x)
        ),
        "a shuffle from a lane that is not in its mask",
        True,
    ),
    "unaligned_matrix": (
        first,
        "ldmatrix from a row not aligned to 16 bytes",
        True,
    ),
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def planted(request):
    return build("planted", KERNELS / "planted.cpp", checked=request.param)


def run(module, name, seed, right):
    """Result [THREADS] of a planted kernel and the one expected of it."""
    x = np.random.default_rng(0).integers(1, 9, 2 * THREADS).astype(np.float32)
    out = np.zeros(THREADS, np.float32)
    module.seed(seed)
    getattr(module, name)(x, out, right)
    return out, PLANTED[name][0](x)


@pytest.mark.parametrize("name", PLANTED)
def test_right_kernel_passes(planted, name):
    for seed in SEEDS:
        out, expected = run(planted, name, seed, right=True)
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", PLANTED)
def test_planted_bug_is_found(planted, name):
    _, message, is_noticed_without_checks = PLANTED[name]
    if planted.checked:
        for seed in SEEDS:
            with pytest.raises(planted.Error, match=message):
                run(planted, name, seed, right=False)
    elif is_noticed_without_checks:
        assert any(is_noticed(planted, name, seed) for seed in SEEDS)


def is_noticed(module, name, seed):
    try:
        out, expected = run(module, name, seed, right=False)
    except module.Error:
        return True
    return not np.array_equal(out, expected)


def test_message_names_kernel_block_and_thread(planted):
    with pytest.raises(planted.Error, match=r"chosen, block \(0, 0, 0\): thread \(\d+, 0, 0\): "):
        run(planted, "unaligned_matrix", 0, right=False)


def test_seed_reproduces_the_order():
    module = build("planted", KERNELS / "planted.cpp")
    results = [run(module, "missing_barrier", seed, right=False)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2], equal_nan=True)
