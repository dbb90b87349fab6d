"""NumPy archives that are damaged, or made to harm, each in its own way."""

from __future__ import annotations

import io
import zipfile

import numpy as np

CENTRAL = b"PK\x01\x02"  # an entry in the list at the archive's end: flags 8 bytes behind, the method of compression 10


def damaged_npz(name: str) -> dict[str, bytes]:
    """Of an archive whose first array is called `name`. What makes a reader of NumPy's raise, in brackets."""
    content = io.BytesIO()
    np.savez_compressed(content, **{name: np.random.default_rng(0).integers(0, 256, 500, dtype=np.uint8)})  # type: ignore[arg-type]
    whole, alone = content.getvalue(), io.BytesIO()
    np.save(alone, np.zeros(3))
    return {
        "cut": whole[:-30],  # BadZipFile
        "changed": _changed(whole, whole.index(b".npy") + 100, 0xFF),  # zlib.error
        "encrypted": _changed(whole, whole.index(CENTRAL) + 8, 0x01),  # RuntimeError
        "packed otherwise": _changed(whole, whole.index(CENTRAL) + 10, 0x40),  # NotImplementedError
        "one array": alone.getvalue(),  # TypeError; AttributeError on Python 3.10
        "promises": _of_header(name, {"descr": "|u1", "fortran_order": False, "shape": (10**15,)}),  # MemoryError
        "other array": _of_header("other", {"descr": "|u1", "fortran_order": False, "shape": (0,)}),  # KeyError
        "header": _archive(name, b"\x93NUMPY\x01\x00\x10\x00{'descr': '|u1' \n"),  # SyntaxError, or ValueError of it
    }


def _changed(content: bytes, place: int, bits: int) -> bytes:
    return content[:place] + bytes([content[place] ^ bits]) + content[place + 1 :]


def _of_header(name: str, header: dict[str, object]) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, header)
    return _archive(name, file.getvalue())


def _archive(name: str, content: bytes) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr(f"{name}.npy", content)
    return whole.getvalue()


DAMAGES = tuple(damaged_npz("x"))
