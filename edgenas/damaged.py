"""What readers raise for files that are damaged or made to harm: one tuple for each format, which every reader of it catches."""

from __future__ import annotations

import pickle
import struct
import tokenize
import zipfile
import zlib

from PIL import Image

_ANY = (ArithmeticError, EOFError, LookupError, OSError, RuntimeError, TypeError, ValueError, struct.error)

# Pillow and its decoders; its own error: more pixels than it reads. Who reads files of any size catches MemoryError, too.
IMAGE = (*_ANY, SyntaxError, zlib.error, Image.DecompressionBombError)
# zipfile and NumPy's reader. AttributeError: numpy.load of a single array in place of an archive, on Python 3.10.
NPZ = (*_ANY, AttributeError, MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error)
GZIP = (EOFError, OSError, zlib.error)
# Unpicklers that know no classes; torch.load(weights_only=True) is one of them.
PICKLE = (*_ANY, AssertionError, AttributeError, MemoryError, pickle.UnpicklingError)

# How a file begins that stands for another one in a repository: cloning without Git LFS leaves it in its place.
GIT_LFS = b"version https://git-lfs"
POINTER = "a pointer of Git LFS, not the file: run `git lfs pull` where it comes from"
