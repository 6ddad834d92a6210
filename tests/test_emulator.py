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


# The same for kernels/hopper.cuh, whose kernels compute one product.
HOPPER = {
    "missing_init_barrier": (RACE + "shared memory" + NO_BARRIER + "|nobody has initialised", True),
    "missing_copy_wait": (RACE + "shared memory that an asynchronous copy", True),
    "wrong_parity": (RACE + "shared memory that an asynchronous copy", True),
    "wrong_expected_bytes": (
        DEADLOCK + "128 threads at an mbarrier whose phase does not end",
        True,
    ),
    "unaligned_destination": ("TMA with a swizzle .* not aligned to 1024", True),
    "missing_product_wait": ("", True),
    "missing_product_fence": ("a group of wgmma that does not begin with wgmma_fence", True),
    "operand_reused_too_early": ("race: ", True),
    "missing_proxy_fence": ("race: wgmma reads .* with no fence.proxy.async", False),
    "returns_before_copy": ("returns without having waited for its TMA copies", True),
}


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def planted(request):
    return build("planted", KERNELS / "planted.cpp", checked=request.param)


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "checked"])
def hopper(request):
    return build("hopper", KERNELS / "hopper.cpp", checked=request.param)


def run(module, name, seed, right=False):
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
                run(planted, name, seed)
    elif is_noticed_without_checks:
        assert any(is_noticed(planted, name, seed, run) for seed in SEEDS)


@pytest.mark.parametrize("name", HOPPER)
def test_planted_hopper_bug_is_found(hopper, name):
    message, is_noticed_without_checks = HOPPER[name]
    if hopper.checked and message:
        for seed in SEEDS:
            with pytest.raises(hopper.Error, match=message):
                run_product(hopper, name, seed)
    elif is_noticed_without_checks:
        assert any(is_noticed(hopper, name, seed, run_product) for seed in SEEDS)


def run_product(module, name, seed):
    """Result [64, 128] of a product and the one expected, of bfloat16 rows [., 64]."""
    random = np.random.default_rng(0)
    a, b = (random.integers(-8, 8, (rows, 64)).astype(np.float32) for rows in (70, 130))
    out = np.zeros((64, 128), np.float32)
    module.seed(seed)
    getattr(module, name)(bfloat16_bytes(a), 3, bfloat16_bytes(b), 1, out)
    return out, a[3:67] @ b[1:129].T


def bfloat16_bytes(x):
    """Bytes of small integers as bfloat16: the upper half of float32."""
    return (x.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)


def is_noticed(module, name, seed, run):
    try:
        out, expected = run(module, name, seed)
    except module.Error:
        return True
    return not np.array_equal(out, expected)


def test_message_names_kernel_block_and_thread(planted):
    with pytest.raises(planted.Error, match=r"chosen, block \(0, 0, 0\): thread \(\d+, 0, 0\): "):
        run(planted, "unaligned_matrix", 0)


def test_seed_reproduces_the_order():
    module = build("planted", KERNELS / "planted.cpp")
    results = [run(module, "missing_barrier", seed)[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2], equal_nan=True)
