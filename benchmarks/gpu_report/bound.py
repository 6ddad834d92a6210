"""How much of the matrix units' peak a kernel's inner loop can reach.

The loop is read from the machine code, and its cycles are counted for each pipe of a sub-partition
of a multiprocessor. The pipes work side by side, so that the busiest one is a bound. A warp uses
one after another, and barriers keep the warps of a program together, so that its matrix products
and the rest of one warp is how long its turn takes; turns of different programs overlap:

    fraction = useful matrix cycles / max(each pipe, issue slots, turn / resident programs)

Left out: latencies of memory and of barriers, bank conflicts, the prologue and epilogue, tiles that
are not full, waves of programs, clocks that drop under load, the bandwidths of the second-level
cache and of tensor memory (sm_100). Code that a branch can jump over, without a loop, a product or
an exponential in it, is what only a new maximum or the scale of packed 16-bit rows needs, and does
not count. A prediction is a bound, not a time.
"""

import math
import re
from collections import Counter
from dataclasses import dataclass

from .architectures import (
    ALU_LANES,
    MUFU_LANES,
    REGISTERS,
    SHARED_BYTES,
    SUBPARTITIONS,
    Architecture,
)
from .sass import Code, Instruction, Loop

WARP = 32
L2_LATENCY = 300  # cycles
VALUES = 3  # trips of a loop over values

_MUFU = {"MUFU", "F2I", "I2F", "F2F", "FRND", "POPC", "FLO", "BREV"}
_FMA = {"FADD", "FMUL", "FFMA", "HADD2", "HMUL2", "HFMA2", "FADD2", "FMUL2", "FFMA2"}
_DOUBLE = {"DADD", "DMUL", "DFMA", "DSETP"}
_MEMORY = re.compile(r"^(LDS|STS|LDSM|STSM|LDG|STG|LDGSTS|LD|ST|LDL|STL|ATOMG?|ATOMS|RED)$")
_ALU = re.compile(
    r"^(FMNMX3?|FSETP|FSET|FSEL|FCHK|ISETP|IADD3?|LOP3|SEL|SHF|LEA|PRMT|MOV|VIADD\w*|V?IMNMX3?|PLOP3|"
    r"P2R|R2P|F2FP|I2FP|IABS|BMSK|SGXT|VOTE|CS2R|I2I|F2IP|ICMP)$"
)
_MATRIX_SHAPES = {
    "HGMMA": re.compile(r"\.(\d+)x(\d+)x(\d+)"),
    "HMMA": re.compile(r"\.(16)(8)(\d+)"),
    "DMMA": re.compile(r"\.(8|16)x?(8)x?(\d+)"),
}
_WIDTH = re.compile(r"\.(64|128)\b")


@dataclass(frozen=True)
class Bound:
    """One iteration of all warps of a program, on one sub-partition."""

    useful: float  # cycles of the matrix unit that the products need
    cycles: dict[str, float]  # of each pipe: matrix, mufu, fma, alu, shared, issue
    operand_reads: float  # cycles of "shared" that the matrix unit itself takes
    wait: float  # for memory, where the loop does not load ahead
    warps: float  # of one program, on a sub-partition
    programs: int  # resident, or groups of warps that take turns
    opcodes: Counter  # of one warp

    @property
    def rest(self) -> float:
        """Cycles of all that a warp does beside its matrix products."""
        pipes = ("mufu", "fma", "alu", "shared")
        return sum(self.cycles[pipe] for pipe in pipes) - self.operand_reads

    @property
    def limits(self) -> dict[str, float]:
        """What the loop cannot be faster than, with its cycles."""
        turn = self.cycles["matrix"] + self.rest / self.warps + self.wait
        return self.cycles | {"turns": turn / max(self.programs, 1)}

    @property
    def limit(self) -> str:
        """What bounds the loop."""
        return max(self.limits, key=self.limits.__getitem__)

    @property
    def fraction(self) -> float:
        """The predicted fraction of the matrix peak: only different programs overlap."""
        return self.useful / self.limits[self.limit]

    @property
    def overlapped_fraction(self) -> float:
        """The fraction if everything overlapped: that of the busiest pipe."""
        return self.useful / max(self.cycles.values())


def occupancy(code: Code, arch: Architecture, warps: int, shared_memory: int) -> int:
    """Return how many programs a multiprocessor holds."""
    per_warp = math.ceil(code.registers * WARP / 256) * 256
    return min(
        REGISTERS // per_warp // warps,
        arch.shared_memory_all // (shared_memory + 1024),
        arch.most_warps // warps,
        arch.most_blocks,
    )


@dataclass(frozen=True)
class Product:
    """Matrix product of one iteration: what is useful, as opposed to padding."""

    kind: str  # "half", "tf32", "tf32x3", "ieee", "double"
    multiply_adds: int
    rows: int
    share: float = 1  # that is useful, where several programs compute the same

    def cycles(self, arch: Architecture) -> float:
        """Return its cycles of a sub-partition's matrix unit (float32 lanes for "ieee")."""
        rate = {"half": arch.half, "double": arch.double, "ieee": arch.fma}.get(
            self.kind, arch.half / 2
        )
        return self.multiply_adds * self.passes / (SUBPARTITIONS * rate)

    @property
    def passes(self) -> int:
        """Products of matrix instructions that it takes."""
        return 3 if self.kind == "tf32x3" else 1


def bound_of(
    code: Code,
    arch: Architecture,
    warps: int,
    programs: int,
    products: list[Product],
    slices: int = 1,
) -> Bound | None:
    """Return the bound of the loop that holds a kernel's products; None where there is none.

    `programs` of that many `warps` share a multiprocessor. `slices` is how often a loop over
    channels runs that has another one inside.
    """
    loop = _product_loop(code)
    if loop is None:
        return None
    opcodes: Counter = Counter()
    cycles = dict.fromkeys(("matrix", "mufu", "fma", "alu", "shared", "issue"), 0.0)
    operand_reads = 0.0
    warps_here = warps / SUBPARTITIONS
    inner = _trips(code, loop, warps, products, slices)
    rare = _rare_places(code, loop)
    for place in (x for x in range(loop.first, loop.last + 1) if x not in rare):
        instruction = code.instructions[place]
        trips = math.prod(count for other, count in inner.items() if place in other)
        opcodes[instruction.name] += trips
        cycles["issue"] += trips * warps_here
        for pipe, count in _cycles(instruction, arch).items():
            cycles[pipe] += trips * warps_here * count
            if instruction.is_matrix and pipe == "shared":
                operand_reads += trips * warps_here * count
    needed = sum(product.cycles(arch) for product in products)
    if not code.matrix_instruction:  # float32 multiply-adds are the matrix product
        cycles["fma"] -= needed
        cycles["matrix"] = needed
    elif code.matrix_instruction.startswith("UTC"):
        # Their shape is not in the instruction. Half of the unit idles below 128 rows.
        cycles["matrix"] = sum(x.cycles(arch) * (2 if x.rows < 128 else 1) for x in products)
    useful = sum(product.cycles(arch) * product.share for product in products)
    by_producer = any(x.name == "UTMALDG" for x in code.instructions)
    loads_ahead = opcodes["LDGSTS"] > 0 or by_producer
    wait = 0 if loads_ahead else L2_LATENCY
    return Bound(useful, cycles, operand_reads, wait, warps_here, programs, opcodes)


def _product_loop(code: Code) -> Loop | None:
    """Return the outermost loop that holds the products."""
    counts = {loop: _multiply_adds(code, loop) for loop in code.loops}
    most = max(counts.values(), default=0)
    candidates = [loop for loop, count in counts.items() if count == most > 0]
    return max(candidates, key=lambda loop: loop.last - loop.first, default=None)


def _rare_places(code: Code, loop: Loop) -> set[int]:
    """Return the places of a loop that a branch ahead can jump over."""
    rare: set[int] = set()
    for place, target in code.jumps.items():
        if not (place in loop and place < target <= loop.last):
            continue
        skipped = range(place + 1, target)
        busy = (code.instructions[x] for x in skipped)
        has_work = any(x.is_matrix or x.opcode.startswith("MUFU.EX2") for x in busy)
        if not has_work and not any(other.first in skipped for other in code.loops):
            rare.update(skipped)
    return rare


def _multiply_adds(code: Code, loop: Loop) -> int:
    """Return the multiply-adds of a loop's body that belong to products, of one warp."""
    names = ("HGMMA", "HMMA", "DMMA") if code.matrix_instruction else ("FFMA", "FFMA2", "DFMA")
    total = 0
    for instruction in code.instructions[loop.first : loop.last + 1]:
        if instruction.name.startswith("UTC") and instruction.is_matrix:
            total += 1  # how many it has is not in the instruction
        elif instruction.name in names and instruction.is_matrix:
            m, n, k = _matrix_shape(instruction)
            total += m * n * k // (SUBPARTITIONS if instruction.name == "HGMMA" else 1)
        elif instruction.name in names:
            total += WARP * (2 if instruction.name == "FFMA2" else 1)
    return total


def _trips(
    code: Code, loop: Loop, warps: int, products: list[Product], slices: int
) -> dict[Loop, float]:
    """Return how often each loop inside runs: those over channels as often as the products need."""
    inside = {other: _multiply_adds(code, other) for other in code.loops if other in loop}
    over_channels = [other for other, count in inside.items() if count > 8 * WARP]
    leaves = [x for x in over_channels if not any(other in x for other in over_channels)]
    in_leaves = sum(inside[leaf] for leaf in leaves)
    needed = sum(product.multiply_adds * product.passes for product in products) / warps
    outside = _multiply_adds(code, loop) - in_leaves
    turns = max((needed - outside) / max(in_leaves, 1), 1)
    trips: dict[Loop, float] = {}
    for other in inside:
        is_nested = any(other in outer for outer in over_channels)
        if other in leaves:
            trips[other] = turns / slices if is_nested else turns
        else:
            trips[other] = slices if other in over_channels else VALUES
    return trips


def _cycles(instruction: Instruction, arch: Architecture) -> dict[str, float]:
    """Return the cycles of one warp's instruction on each pipe of its sub-partition."""
    name = instruction.name
    if instruction.is_matrix:
        return _matrix_cycles(instruction, arch)
    if name in _MUFU:
        return {"mufu": WARP / MUFU_LANES}
    if name in _FMA:
        return {"fma": WARP / arch.fma * (2 if name.endswith("2") and name[0] == "F" else 1)}
    if name == "IMAD":
        return {"fma": WARP / ALU_LANES}
    if name in _DOUBLE:
        return {"fma": WARP / arch.double_lanes}
    if name == "SHFL":
        return {"shared": SUBPARTITIONS}
    if _MEMORY.match(name):
        return {"shared": SUBPARTITIONS * WARP * _bytes_of_lane(instruction) / SHARED_BYTES}
    if _ALU.match(name):
        return {"alu": WARP / ALU_LANES}
    return {}


def _bytes_of_lane(instruction: Instruction) -> int:
    if instruction.name in ("LDSM", "STSM"):  # 8 x 8 matrices of 16 bits: one word of each lane
        return 4 * int((re.search(r"\.M88\.([24])", instruction.opcode) or [0, 1])[1])
    width = _WIDTH.search(instruction.opcode)
    return int(width[1]) // 8 if width else 4


def _matrix_shape(instruction: Instruction) -> tuple[int, int, int]:
    shape = _MATRIX_SHAPES[instruction.name].search(instruction.opcode)
    m, n, k = map(int, shape.groups())
    return m, n, k


def _matrix_cycles(instruction: Instruction, arch: Architecture) -> dict[str, float]:
    if instruction.name not in _MATRIX_SHAPES:  # tcgen05: the caller counts its products
        return {}
    m, n, k = _matrix_shape(instruction)
    is_tf32 = "TF32" in instruction.opcode
    if instruction.name == "DMMA":
        return {"matrix": m * n * k / arch.double}
    rate = arch.half / 2 if is_tf32 else arch.half
    if instruction.name == "HMMA":
        return {"matrix": m * n * k / rate}
    # The four warps of a group share an HGMMA, which reads its second operand, and its first where
    # that is not in registers, from shared memory.
    from_shared = n + (m if "gdesc" in instruction.operands.split(",")[1] else 0)
    return {
        "matrix": m * n * k / rate / SUBPARTITIONS,
        "shared": from_shared * k * (4 if is_tf32 else 2) / SHARED_BYTES,
    }
