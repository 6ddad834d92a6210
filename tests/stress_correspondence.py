"""Random ragged problems against the oracle, forward and backward.

    python tests/stress_correspondence.py --cases 10000 --seed 0 --backend cpu

Prints the number of wrong cases and, for each output and gradient, the worst error relative to its
tolerance (tolerances.py); the exit status is 1 if any case is wrong.
"""

import argparse
import random
import sys
import time

import torch
from cases import DTYPES, Options
from checking import compare, run
from random_problems import FEATURES, PATTERNS, STRIDES, TEMPERATURES, Problem, build

import spcolor_ops


def draw(rng: random.Random) -> Problem:
    """Return a random problem: most are small, one in fifty is larger than any block."""
    large = rng.random() < 0.02

    def size(limit: int) -> int:
        return rng.choice((0, 1, 2, 3)) if rng.random() < 0.1 else rng.randint(1, limit)

    normalize = rng.random() < 0.8
    dtype = rng.choice(DTYPES)
    return Problem(
        batch=rng.choice((1, 1, 2, 3)),
        n=size(700 if large else 48),
        m=size(900 if large else 64),
        channels=rng.choice((1, 2, 3, 8, 16, 17, 31, 64, 65, rng.randint(1, 300))),
        values=rng.choice((1, 2, 3, 4, 8, 17, rng.randint(1, 32))),
        num_segments=rng.choice((1, 2, 3, 5, 9, 27, 80)),
        dtype=dtype,
        value_dtype=rng.choice((dtype, dtype, *DTYPES)),
        pattern=rng.choice(PATTERNS),
        features=rng.choice(FEATURES),
        strides=rng.choice(STRIDES),
        options=Options(
            temperature=rng.choice(TEMPERATURES if normalize else TEMPERATURES[2:]),
            center=rng.random() < 0.5,
            normalize=normalize,
        ),
        seed=rng.getrandbits(31),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backend", choices=spcolor_ops.BACKENDS, default="cpu")
    arguments = parser.parse_args()

    rng = random.Random(arguments.seed)
    worst: dict[tuple[str, torch.dtype], float] = {}
    wrong = 0
    begin = time.perf_counter()
    for case in range(arguments.cases):
        problem = draw(rng)
        inputs = build(problem)
        ratios = compare(
            inputs, problem.options, run(inputs, problem.options, backend=arguments.backend)
        )
        beyond = {name: ratio for name, ratio in ratios.items() if not ratio <= 1}
        if beyond:
            wrong += 1
            print(f"wrong: case {case}, {problem}: error / tolerance {beyond}")
        for name, ratio in ratios.items():
            key = (name, problem.dtype)
            worst[key] = max(worst.get(key, 0.0), ratio)
    seconds = time.perf_counter() - begin

    print(
        f"{'worst error / tolerance':>24}", *(f"{str(d).removeprefix('torch.'):>9}" for d in DTYPES)
    )
    for name in dict.fromkeys(name for name, _ in worst):
        print(f"{name:>24}", *(f"{worst.get((name, dtype), 0.0):9.3f}" for dtype in DTYPES))
    print(f"{arguments.cases} cases, backend {arguments.backend!r}, {seconds:.0f} s: {wrong} wrong")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
