"""The reading of machine code and the bound, on code written here."""

import pytest
from subprocesses import run_python

from benchmarks.gpu_report.architectures import ARCHITECTURES
from benchmarks.gpu_report.bound import Product, bound_of, occupancy
from benchmarks.gpu_report.launches import backward_launches, forward_launches
from benchmarks.gpu_report.sass import Code, _functions, _parse

LOOP = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
        /*0010*/                   HGMMA.64x64x16.F32 R24, gdesc[UR4], RZ, !UPT ;
.L_x_1:
        /*0020*/                   LDGSTS.E.BYPASS.128 [R13], desc[UR6][R40.64], !P2 ;
        /*0030*/                   HGMMA.64x64x16.F32 R24, gdesc[UR4], R24 ;
        /*0040*/              @!P0 FMNMX R1, R2, R3, !PT ;
        /*0050*/                   MUFU.EX2 R4, R4 ;
        /*0060*/                   FFMA R4, R4, R5, R6 ;
.L_x_2:
        /*0070*/                   FADD R4, R4, R5 ;
        /*0080*/               @P1 BRA `(.L_x_2) ;
        /*0090*/               @P0 BRA `(.L_x_1) ;
        /*00a0*/                   STL [R1], R4 ;
        /*00b0*/                   EXIT ;
.L_x_3:
        /*00c0*/                   BRA `(.L_x_3);
"""


def parse(text: str, registers: int = 64) -> Code:
    ((name, lines),) = _functions(text)
    return _parse(name, lines, registers, 0, 0)


def test_parses_instructions_loops_and_spills():
    code = parse(LOOP)
    assert [(loop.first, loop.last) for loop in code.loops] == [(7, 8), (2, 9)]
    assert code.spills == 1
    assert code.matrix_instruction == "HGMMA"


def test_counts_the_cycles_of_the_product_loop():
    product = Product("half", 64 * 64 * 16, rows=64)
    bound = bound_of(parse(LOOP), ARCHITECTURES[90], 4, 1, [product])
    # 64 x 64 x 16 multiply-adds at 2,048 a cycle; both operands are read at 128 bytes a cycle.
    assert bound.useful == bound.cycles["matrix"] == 32
    assert bound.operand_reads == 32
    assert bound.cycles["shared"] == 32 + 16  # and a warp's 512 bytes on all four sub-partitions
    assert bound.cycles["mufu"] == 8
    assert bound.cycles["alu"] == 2
    assert bound.cycles["fma"] == 1 + 3  # the loop inside is over three values
    assert bound.opcodes["FADD"] == 3
    assert bound.overlapped_fraction == pytest.approx(32 / 48)


BRANCHES = """
.text.kernel:
        /*0000*/                   MOV R1, c[0x0][0x28] ;
.L_x_1:
        /*0010*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R1], R2 ;
        /*0020*/              @!P0 BRA `(.L_x_5) ;
.L_x_2:
        /*0030*/                   HGMMA.64x64x16.F32 R24, gdesc[UR4], R24 ;
        /*0040*/              @!P1 BRA `(.L_x_3) ;
        /*0050*/                   FADD R4, R4, R5 ;
.L_x_3:
        /*0060*/              @!P2 BRA `(.L_x_4) ;
        /*0070*/                   FMUL R4, R4, R5 ;
        /*0080*/                   MUFU.EX2 R4, R4 ;
.L_x_4:
        /*0090*/               @P3 BRA `(.L_x_1) ;
        /*00a0*/                   EXIT ;
.L_x_5:
        /*00b0*/                   SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [R1], R2 ;
        /*00c0*/              @!P0 BRA `(.L_x_5) ;
        /*00d0*/                   BRA `(.L_x_2) ;
"""


def test_waits_are_no_loops_and_rare_code_does_not_count():
    code = parse(BRANCHES)
    assert [(loop.first, loop.last) for loop in code.loops] == [(1, 9)]
    product = Product("half", 64 * 64 * 16, rows=64)
    bound = bound_of(code, ARCHITECTURES[90], 4, 2, [product])
    assert bound.opcodes["FADD"] == 0  # jumped over: no product, loop or exponential in it
    assert bound.opcodes["FMUL"] == bound.opcodes["MUFU"] == 1
    assert bound.programs == 2


def test_programs_share_a_multiprocessor():
    code = parse(LOOP, registers=128)
    assert occupancy(code, ARCHITECTURES[90], 4, 0) == 4  # 65,536 registers
    assert occupancy(code, ARCHITECTURES[90], 4, 100_000) == 2
    assert occupancy(code, ARCHITECTURES[86], 4, 60_000) == 1


def test_no_products_no_bound():
    assert bound_of(parse(".text.kernel:\n /*0000*/ EXIT ;\n"), ARCHITECTURES[90], 4, 1, []) is None


def test_three_passes_of_tf32():
    half, split = Product("half", 4096, 64), Product("tf32x3", 4096, 64)
    assert split.cycles(ARCHITECTURES[80]) == 6 * half.cycles(ARCHITECTURES[80])


LAUNCHES = """
import sys
from unittest import mock

import torch
from triton.runtime.jit import JITFunction

from spcolor_ops import _library, segment_correspondence

_library.accept_cpu_tensors("triton")
query, key = (torch.zeros(2, 50, 16).requires_grad_() for _ in range(2))
labels = torch.zeros(2, 50, dtype=torch.int64)
names = []
with mock.patch.object(JITFunction, "run", lambda self, *_, **__: names.append(self.__name__)):
    out = segment_correspondence(
        query, key, torch.zeros(2, 50, 3), labels, labels,
        num_segments=3, center=sys.argv[1] == "center", backend="triton",
    )
    print(*names)
    names.clear()
    torch.autograd.grad(out.warped.sum(), (query, key))
    print(*names)
"""


@pytest.mark.parametrize(("center", "counts"), [("center", (4, 11)), ("plain", (3, 6))])
def test_the_table_lists_the_launches_of_a_call(center, counts):
    pytest.importorskip("triton")
    run = run_python("-c", LAUNCHES, center, TRITON_INTERPRET="0")
    assert run.returncode == 0, run.stderr
    launched = [
        [name.removeprefix("_").removesuffix("_kernel") for name in line.split()]
        for line in run.stdout.splitlines()
    ]
    assert tuple(map(len, launched)) == counts
    if center == "center":
        listed = [forward_launches(8, 22, 2, 0.5), backward_launches(8, 22, 2, 0.5)]
        for names, table in zip(launched, listed, strict=True):
            assert sorted(names) == sorted(launch.name.split(" of ")[0] for launch in table)
