"""Public figures of each NVIDIA architecture, per cycle.

Rates are those of the CUDA programming guide (results per cycle and multiprocessor, by instruction)
and of the architectures' white papers (matrix units: dense peak over clock and multiprocessors).
The data-centre or workstation card stands for its architecture: GeForce cards of sm_86, sm_89 and
sm_120 multiply 16-bit operands at half the rate when they sum in float32.
"""

from typing import NamedTuple

SUBPARTITIONS = 4  # of a multiprocessor: each has its own scheduler, pipes and matrix unit


class Architecture(NamedTuple):
    """One compute capability. Rates are per cycle and sub-partition."""

    card: str
    multiprocessors: int
    half: int  # multiply-adds of the matrix unit, bfloat16 or float16 operands; tf32 has half
    double: float  # multiply-adds of float64, by the matrix unit where there is one
    double_lanes: float  # of float64 beside the matrix unit
    fma: int  # lanes of float32
    shared_memory: int  # bytes that one block can have
    shared_memory_all: int  # bytes of a multiprocessor, 1,024 of which each block takes for itself
    most_warps: int  # of a multiprocessor
    most_blocks: int
    clock: float  # GHz, at which the card's stated matrix peak holds
    bandwidth: float  # GB/s of device memory


ALU_LANES = 16  # comparisons, selections, minima, integers
MUFU_LANES = 4  # exp2, reciprocal, conversions
REGISTERS = 65_536  # of a multiprocessor
SHARED_BYTES = 128  # per cycle, of a multiprocessor: one 32-bit word for each of 32 lanes

ARCHITECTURES = {
    80: Architecture("A100", 108, 256, 16, 8, 16, 166_912, 167_936, 64, 32, 1.41, 2039),
    86: Architecture("RTX A6000", 84, 128, 0.5, 0.5, 32, 101_376, 102_400, 48, 16, 1.8, 768),
    89: Architecture("L40S", 142, 128, 0.5, 0.5, 32, 101_376, 102_400, 48, 24, 2.52, 864),
    90: Architecture("H100", 132, 512, 32, 16, 32, 232_448, 233_472, 64, 32, 1.83, 3350),
    100: Architecture("B200", 148, 1024, 16, 16, 32, 232_448, 233_472, 64, 32, 1.86, 8000),
    120: Architecture("RTX PRO 6000", 188, 128, 0.5, 0.5, 32, 101_376, 102_400, 48, 24, 2.62, 1792),
}
