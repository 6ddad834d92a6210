"""A training run that is killed again and again must end as one that is left alone.

    python tests/stress_training.py --kills 20 --seed 0

Starts `train.py`, kills it (SIGKILL) at a random moment, and starts it again, until so many kills
are done; the last start goes on to the end. A checkpoint is written after every step. Kills come
while the program starts, at any time after its first new checkpoint, and, half of them, just after
the writing of one began. Prints how many left half a checkpoint, and whether the final
weights, moments and random numbers are those of an undisturbed run, bit for bit; the exit status is
1 if not.
"""

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from subprocesses import ROOT
from training_runs import TINY, assert_same, checkpoints, state, weights

VALUES = (*TINY, "prior.kind=clusters", "prior.num_segments=4", "ema=0.9", "data.workers=1")
# At least so many more steps than a start makes before it is killed.
STEPS_PER_KILL = 10
MOMENTS = ("start", "steps", "write", "write")
# The longest wait for each, in seconds.
LONGEST = {"start": 6.0, "steps": 1.0, "write": 0.02}


def start(out: Path, steps: int, checkpoint_steps: int) -> subprocess.Popen:
    own = (f"out={out}", f"max_steps={steps}", f"checkpoint_steps={checkpoint_steps}")
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), "--config", "small", *VALUES, *own],
        stderr=subprocess.PIPE,
        text=True,
    )


def names(out: Path, ending: str = "") -> set[str]:
    """Return the checkpoints that are there, or those with an ending."""
    return {path.name for path in out.glob(f"checkpoints/step_????????{ending}")}


def is_writing(out: Path) -> bool:
    """Tell the writing of a new checkpoint from the removal of an old one."""
    return max(names(out, ".partial"), default="") > max(names(out), default="")


def wait(run: subprocess.Popen, out: Path, moment: str, rng: random.Random) -> None:
    """Wait until the moment to kill a run."""
    before = names(out)
    while moment != "start" and names(out) <= before and run.poll() is None:
        time.sleep(0.01)
    while moment == "write" and not is_writing(out) and run.poll() is None:
        time.sleep(0.001)
    time.sleep(LONGEST[moment] * rng.random())


def finish(run: subprocess.Popen) -> None:
    _, text = run.communicate()
    if run.returncode:
        sys.exit(f"train.py ended with {run.returncode}:\n{text}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    steps = STEPS_PER_KILL * arguments.kills
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        killed, alone = Path(folder) / "killed", Path(folder) / "alone"
        counts = {"a half-written checkpoint": 0, "a half-removed one": 0, "neither": 0}
        begin = time.perf_counter()
        for number in range(arguments.kills):
            moment = MOMENTS[number % len(MOMENTS)]
            before = names(killed, ".partial")
            run = start(killed, steps, 1)
            wait(run, killed, moment, rng)
            if run.poll() is not None:
                finish(run)
                break
            run.kill()
            run.wait()
            halves = names(killed, ".partial") - before
            index = (0 if is_writing(killed) else 1) if halves else 2
            counts[list(counts)[index]] += 1
            there = sorted(names(killed) | names(killed, ".partial"))
            print(f"killed in {moment}: {', '.join(there) or 'no checkpoint'}", flush=True)
        finish(start(killed, steps, steps))
        finish(start(alone, steps, steps))
        same = True
        for read in (weights, state):
            try:
                assert_same(read(checkpoints(killed)[-1]), read(checkpoints(alone)[-1]))
            except AssertionError:
                same = False
        seconds = time.perf_counter() - begin
        print(f"{sum(counts.values())} kills of {steps} steps, {seconds:.0f} s; left:")
        print(", ".join(f"{count} {left}" for left, count in counts.items()))
        print(f"final weights, moments and random numbers {'equal' if same else 'DIFFERENT'}")
    return int(not same)


if __name__ == "__main__":
    sys.exit(main())
