"""Reads machine code: resources of a kernel, and the loop that holds its matrix instructions."""

import functools
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

_FUNCTION = re.compile(r"^\.text\.(\S+):$")
_LABEL = re.compile(r"^(\.L_\S+):$")
_INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\w+\s+)?([A-Z][\w.]*)\s*([^;]*);")
_TARGET = re.compile(r"\((\.L_\S+)\)")
_USAGE = re.compile(r"Function (\S+):\s+REG:(\d+) STACK:(\d+) SHARED:(\d+)")

MATRIX = re.compile(r"HGMMA|QGMMA|UTC\w*MMA|HMMA|DMMA")


@dataclass(frozen=True)
class Instruction:
    """One instruction: its opcode with modifiers, and its operands as text."""

    opcode: str
    operands: str

    @property
    def name(self) -> str:
        return self.opcode.split(".")[0]

    @property
    def is_matrix(self) -> bool:
        return MATRIX.match(self.opcode) is not None


@dataclass(frozen=True)
class Loop:
    """The instructions from a label to the last branch back to it."""

    first: int
    last: int

    def __contains__(self, place: "int | Loop") -> bool:
        if isinstance(place, Loop):
            return self != place and self.first <= place.first and place.last <= self.last
        return self.first <= place <= self.last


@dataclass(frozen=True)
class Code:
    """One kernel's machine code."""

    name: str
    registers: int
    stack: int  # bytes; more than 0 where registers spilled
    static_shared_memory: int
    instructions: list[Instruction]
    loops: list[Loop]
    jumps: dict[int, int]  # branch -> its target, further on

    @property
    def spills(self) -> int:
        """Loads and stores of local memory."""
        return sum(x.name in ("STL", "LDL") for x in self.instructions)

    @property
    def matrix_instruction(self) -> str:
        """The kind of matrix instruction that occurs most often, without its operands' types."""
        names = [x.name for x in self.instructions if x.is_matrix]
        return max(names, key=names.count, default="")


def disassemble(cubin: bytes) -> list[Code]:
    """Return the kernels of a cubin."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(cubin)
        file.flush()
        usage = _run("cuobjdump", "--dump-resource-usage", file.name)
        text = _run("nvdisasm", "-c", file.name)
    resources = {name: tuple(map(int, rest)) for name, *rest in _USAGE.findall(usage)}
    return [_parse(name, lines, *resources[name]) for name, lines in _functions(text)]


@functools.cache
def _tool(name: str) -> str:
    """Return the path of a CUDA binary tool: Triton ships them."""
    import triton

    shipped = Path(triton.__file__).parent / "backends/nvidia/bin" / name
    path = shutil.which(name) if not shipped.exists() else str(shipped)
    if path is None:
        raise FileNotFoundError(f"{name} is neither in Triton's package nor in PATH")
    return path


def _run(tool: str, *arguments: str) -> str:
    command = [_tool(tool), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def _functions(text: str) -> list[tuple[str, list[str]]]:
    functions: list[tuple[str, list[str]]] = []
    for line in text.splitlines():
        if match := _FUNCTION.match(line):
            functions.append((match[1], []))
        elif functions:
            functions[-1][1].append(line)
    return functions


def _parse(name: str, lines: list[str], registers: int, stack: int, shared: int) -> Code:
    instructions: list[Instruction] = []
    labels: dict[str, int] = {}
    ends: dict[int, int] = {}
    branches: dict[int, str] = {}
    for line in lines:
        if match := _LABEL.match(line):
            labels[match[1]] = len(instructions)
        elif match := _INSTRUCTION.match(line):
            instruction = Instruction(match[1], match[2].strip())
            target = _TARGET.search(instruction.operands)
            # A barrier is waited for out of line: neither the wait nor the way back is a loop.
            is_wait = any(x.name == "SYNCS" for x in instructions[-2:])
            if instruction.name == "BRA" and target:
                if target[1] not in labels:
                    branches[len(instructions)] = target[1]
                elif not is_wait:
                    ends[labels[target[1]]] = len(instructions)
            instructions.append(instruction)
    # The endless jump to itself behind a kernel's end is no loop.
    loops = [Loop(first, last) for first, last in ends.items() if first < last]
    jumps = {place: labels[label] for place, label in branches.items()}
    return Code(name, registers, stack, shared, instructions, loops, jumps)
