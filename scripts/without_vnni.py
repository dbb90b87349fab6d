"""Run a command with ONNX Runtime as it is on an x86-64 processor without VNNI (AVX2 only), at native speed.

`python scripts/without_vnni.py -- python -m pytest tests/export`; `--keep-avx512` for the kind that has AVX-512 but no VNNI.

ONNX Runtime chooses its kernels by the `cpuid` instruction, has no switch for it, and a process cannot trap it on most
machines. So a copy of its module is made in which every `cpuid` is a breakpoint, and a library that answers those breakpoints
without VNNI, AMX and AVX-512. The copy is first on PYTHONPATH for the command and all of its children, and gone when it ends.
Torch, oneDNN, NumPy and OpenBLAS are lowered by their own variables. Needs Linux on x86-64, a C compiler and objdump (binutils).
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HANDLER = Path(__file__).with_suffix(".c")
INSIDE = "EDGENAS_WITHOUT_VNNI"
CPUID, TRAP = b"\x0f\xa2", b"\xcc\x90"  # int3; nop
LOWERED = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "OPENBLAS_CORETYPE": "Haswell"}


def main(arguments: list[str]) -> int:
    """The command's exit status; 2 where it cannot be run in this way."""
    options, command = _split(arguments)
    if not command or set(options) - {"--keep-avx512"}:
        return _refuse("usage: without_vnni.py [--keep-avx512] -- COMMAND ...")
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        return _refuse("this needs Linux on x86-64: other processors have no such kernels")
    missing = [tool for tool in ("cc", "objdump") if shutil.which(tool) is None]
    if missing:
        return _refuse(f"{' and '.join(missing)} not found: install a C compiler and binutils")
    if INSIDE in os.environ:  # it is so already
        return subprocess.run(command, check=False).returncode
    with tempfile.TemporaryDirectory(prefix="without-vnni-") as name:
        shadow(Path(name), keep_avx512="--keep-avx512" in options)
        path = os.pathsep.join(filter(None, (name, os.environ.get("PYTHONPATH"))))
        lowered = {} if "--keep-avx512" in options else {**LOWERED, "NPY_DISABLE_CPU_FEATURES": numpy_features()}
        environment = {**os.environ, **lowered, "PYTHONPATH": path, INSIDE: "1"}
        _check(environment)
        return _run(command, environment)


def _run(command: list[str], environment: dict[str, str]) -> int:
    """The command's status; a signal that ends this process is handed on to it, so that the copy outlives it."""
    child = subprocess.Popen(command, env=environment)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda received, _frame: child.send_signal(received))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal has told the command, too
    return child.wait()


def _check(environment: dict[str, str]) -> None:
    """A run on the ordinary path would prove nothing: the worst case of INT8 must saturate for a child."""
    repository = Path(__file__).parents[1]
    probe = "from edgenas.runtimes.int8 import exact_arithmetic as exact; raise SystemExit(exact() == 'fused')"
    done = subprocess.run([sys.executable, "-c", probe], env=environment, cwd=repository, check=False)
    if done.returncode:
        raise SystemExit("without_vnni: INT8 sums do not saturate in a child process: the copy was not taken")


def numpy_features() -> str:
    """What NumPy is to do without: it warns of every name that this build or this processor lacks."""
    from numpy._core import _multiarray_umath as umath

    wide = (name for name in umath.__cpu_dispatch__ if name.startswith(("AVX512", "X86_V4")))
    return " ".join(name for name in wide if umath.__cpu_features__[name])


def shadow(folder: Path, *, keep_avx512: bool) -> None:
    """`folder`/onnxruntime: links to the installed package, with another module in it and the handler that it needs."""
    spec = importlib.util.find_spec("onnxruntime")
    if spec is None or spec.origin is None:
        raise SystemExit("without_vnni: onnxruntime is not installed for this Python")
    installed = Path(spec.origin).parent
    package = folder / "onnxruntime"
    _link_all(installed, package, without=("capi",))
    _link_all(installed / "capi", package / "capi", without=("__init__.py",))
    handler = folder / "answers.so"
    keep = ["-DKEEP_AVX512"] if keep_avx512 else []
    subprocess.run(["cc", "-O1", "-shared", "-fPIC", *keep, "-o", str(handler), str(HANDLER)], check=True)
    first = f"import ctypes\n\nctypes.CDLL({str(handler)!r})\n"
    (package / "capi" / "__init__.py").write_text(first + (installed / "capi" / "__init__.py").read_text())
    (module,) = installed.glob("capi/onnxruntime_pybind11_state*.so")
    (package / "capi" / module.name).unlink()
    (package / "capi" / module.name).write_bytes(trapped(module))


def trapped(module: Path) -> bytes:
    """The shared object with a breakpoint in place of every `cpuid` instruction."""
    content = bytearray(module.read_bytes())
    places = cpuid_offsets(module, content)
    if not places:
        raise SystemExit(f"without_vnni: no cpuid instruction found in {module}")
    for place in places:
        assert content[place : place + 2] == CPUID
        content[place : place + 2] = TRAP
    return bytes(content)


def cpuid_offsets(module: Path, content: bytes) -> list[int]:
    """Where in the file the instructions are. The same two bytes inside of other instructions and in data are left alone, so
    the file is disassembled."""
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", str(module)], capture_output=True, text=True, check=True
    ).stdout
    addresses = [int(match[1], 16) for match in re.finditer(r"^\s*([0-9a-f]+):\s+cpuid\s*$", listing, re.MULTILINE)]
    return [_offset(content, address) for address in addresses]


def _offset(elf: bytes, address: int) -> int:
    """Place in the file of an address, by the loaded segments (ELF-64, System V ABI chapter 5)."""
    (table,) = struct.unpack_from("<Q", elf, 32)
    size, count = struct.unpack_from("<HH", elf, 54)
    for index in range(count):
        kind, _, offset, start, _, length = struct.unpack_from("<IIQQQQ", elf, table + index * size)
        if kind == 1 and start <= address < start + length:
            return int(offset + address - start)
    raise SystemExit(f"without_vnni: address {address:#x} lies in no segment")


def _link_all(source: Path, target: Path, without: tuple[str, ...]) -> None:
    target.mkdir()
    for entry in source.iterdir():
        if entry.name not in (*without, "__pycache__"):
            (target / entry.name).symlink_to(entry)


def _split(arguments: list[str]) -> tuple[list[str], list[str]]:
    if "--" not in arguments:
        return arguments, []
    place = arguments.index("--")
    return arguments[:place], arguments[place + 1 :]


def _refuse(message: str) -> int:
    print(message, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
