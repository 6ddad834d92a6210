"""`python -m benchmarks.gpu_report`: registers, spills and predicted speed of every GPU kernel.

Nothing is run: kernels are compiled, and what can be known of them is read from the machine code.
"""

import argparse
import sys
from pathlib import Path

import torch
import triton

from ..tables import markdown, write_csv
from . import cuda_kernels, triton_kernels
from .architectures import ARCHITECTURES, SUBPARTITIONS
from .bound import bound_of, occupancy
from .compiled import BATCH, CHANNELS, CLASSES, LENGTH, Compiled
from .launches import backward_launches, forward_launches

# The report's names of precisions: type of the features, and precision of the products.
PRECISIONS = {
    "fp16": (torch.float32, "fp16"),
    "bf16": (torch.float32, "bf16"),
    "tf32": (torch.float32, "tf32"),
    "tf32x3": (torch.float32, "tf32x3"),
    "ieee": (torch.float32, "ieee"),
    "raw": (torch.float16, "ieee"),  # 16-bit features, packed as they are
    "double": (torch.float64, "ieee"),
}
AMD = ("gfx942",)
AMD_SHARED_MEMORY = 65_536
# (architecture, backend, kernel): at most so many loads and stores of spilled registers. A few,
# which the compiler chose over more registers in memory-bound passes, outside of any product; those
# of the gradients of sm_90 in tf32x3 are beside their products, and yet faster on an H200 than any
# tile without them (docs/performance.md).
KNOWN_SPILLS = {
    ("sm_80", "cuda", "layout"): 4,
    ("sm_90", "cuda", "layout"): 4,
    ("sm_90", "triton", "query_gradient"): 66,
    ("sm_90", "triton", "key_gradient"): 39,
    ("sm_100", "triton", "key_gradient"): 7,
    ("sm_100", "triton", "unit_vectors"): 4,
    ("sm_100", "cuda", "unit_vectors"): 6,
    ("sm_120", "cuda", "class_means"): 2,
}
PIPES = ("matrix", "mufu", "fma", "alu", "shared", "issue", "turns")


def line_of(arch: int | str, backend: str, precision: str, kernel: Compiled) -> dict[str, object]:
    """Return what the report says of one kernel."""
    line = {
        "arch": f"sm_{arch}" if isinstance(arch, int) else arch,
        "backend": backend,
        "precision": precision,
        "kernel": kernel.name,
        "bytes": kernel.shared_memory,
        "warps": kernel.warps,
    }
    line |= dict.fromkeys(("registers", "spills", "resident", "instruction"), "")
    line |= dict.fromkeys((*PIPES, "bound", "fraction", "overlapped"), "")
    if kernel.code is None:
        return line
    card = ARCHITECTURES[arch]
    resident = occupancy(kernel.code, card, kernel.warps, kernel.shared_memory)
    line |= {
        "registers": kernel.code.registers,
        "spills": kernel.code.spills,
        "resident": resident * kernel.warps,
        "instruction": kernel.code.matrix_instruction,
    }
    warps, programs = (
        (4, resident * kernel.consumers) if kernel.consumers else (kernel.warps, resident)
    )
    bound = bound_of(kernel.code, card, warps, programs, kernel.products, kernel.slices)
    if kernel.products and bound is not None:
        line |= {pipe: round(cycles) for pipe, cycles in bound.limits.items()}
        line |= {
            "bound": bound.limit,
            "fraction": round(bound.fraction, 2),
            "overlapped": round(bound.overlapped_fraction, 2),
        }
    return line


def fits(line: dict[str, object]) -> bool:
    """Whether a kernel keeps to registers, but for `KNOWN_SPILLS`, and to a block's memory."""
    number = line["arch"].removeprefix("sm_")
    most = ARCHITECTURES[int(number)].shared_memory if number.isdigit() else AMD_SHARED_MEMORY
    known = KNOWN_SPILLS.get((line["arch"], line["backend"], line["kernel"]), 0)
    return (line["spills"] or 0) <= known and line["bytes"] <= most


def launch_table(lines: list[dict[str, object]], classes: int) -> list[str]:
    """Return the launches of one call in every architecture and precision that was compiled."""
    cells = []
    for line in lines:
        if line["backend"] != "triton" or line["precision"] not in ("fp16", "tf32", "tf32x3"):
            continue
        of_kernel = {"correspondence": forward_launches, "query_gradient": backward_launches}
        launches = of_kernel.get(line["kernel"])
        if launches is None or not line["fraction"]:
            continue
        size, passes = {"fp16": (2, 1), "tf32": (4, 1), "tf32x3": (4, 3)}[line["precision"]]
        card = ARCHITECTURES[int(line["arch"].removeprefix("sm_"))]
        for launch in launches(BATCH, classes, size, line["fraction"], passes):
            cells.append(
                [
                    f"{line['arch']} ({card.card})",
                    line["precision"],
                    launch.name,
                    f"{launch.bytes / 1e6:.1f}",
                    f"{launch.flops / 1e9:.2f}",
                    f"{launch.microseconds(card, size):.1f}",
                ]
            )
    columns = ["arch", "precision", "launch", "MB", "GFLOP", "predicted us"]
    title = f"Launches of a centred call, B={BATCH}, N=M={LENGTH}, C={CHANNELS}, k={classes}:"
    return [title, *markdown(columns, cells)] if cells else []


def floors() -> list[str]:
    """Say how long the matrix units need for the products alone of one image."""
    operations = 2 * LENGTH * LENGTH * CHANNELS
    lines = [f"Floor: {operations / 1e9:.1f} GFLOP an image at k=1, N=M={LENGTH}, C={CHANNELS}."]
    for number, card in ARCHITECTURES.items():
        cycles = operations / 2 / (card.half * SUBPARTITIONS * card.multiprocessors)
        lines.append(f"  sm_{number} ({card.card}): {cycles:,.0f} cycles with 16-bit operands")
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu_report", description=__doc__.splitlines()[0]
    )
    archs = [*map(str, ARCHITECTURES), *AMD]
    backends = ["triton", "cuda"] if cuda_kernels.has_compiler() else ["triton"]
    parser.add_argument("--arch", nargs="+", choices=archs, default=archs)
    parser.add_argument("--precision", nargs="+", choices=PRECISIONS, default=list(PRECISIONS))
    parser.add_argument("--backend", nargs="+", choices=["triton", "cuda"], default=backends)
    parser.add_argument("--classes", type=int, default=CLASSES, help="of the Triton kernels' tiles")
    parser.add_argument("--out", type=Path, default=Path("out/gpu_report"))
    options = parser.parse_args()

    lines = []
    for name in options.arch:
        arch = name if name in AMD else int(name)
        if "triton" in options.backend:
            for precision in options.precision:
                dtype, product = PRECISIONS[precision]
                kernels = triton_kernels.compile_kernels(arch, product, dtype, options.classes)
                lines += [line_of(arch, "triton", precision, kernel) for kernel in kernels]
        if "cuda" in options.backend and name not in AMD:
            kernels = cuda_kernels.compile_kernels(arch)
            lines += [line_of(arch, "cuda", precision, kernel) for precision, kernel in kernels]
        print(f"{name}: compiled", file=sys.stderr, flush=True)

    columns = list(lines[0])
    print("\n".join(markdown(columns, [[str(line[c]) for c in columns] for line in lines])))
    print("\n".join([*launch_table(lines, options.classes), *floors()]))
    write_csv(lines, {"triton": triton.__version__}, options.out / "gpu_report.csv")
    unfit = [line for line in lines if not fits(line)]
    for line in unfit:
        print("spills or too much shared memory:", *list(line.values())[:6])
    known = sum(bool(line["spills"]) for line in lines if line not in unfit)
    print(
        f"{len(lines)} kernels, {len(unfit)} of them with spills or too much shared memory, "
        f"{known} with spills that are known"
    )
    return 1 if unfit else 0


if __name__ == "__main__":
    sys.exit(main())
