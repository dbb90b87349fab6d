"""Files in the published layouts of NAS-Bench-101 and NATS-Bench: their records and pickles changed within right frames."""

from __future__ import annotations

import bz2
import pickle
from collections.abc import Sequence
from random import Random

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from edgenas.records import Nasbench101Cell
from tests.fuzz.mutation import RANDOMS, mutated, mutations
from tests.methods.nal_files import framed, metrics_of, nats_state, row101

Made = tuple[Sequence[bytes], SearchStrategy[bytes]]
TEXT = "|nor_conv_3x3~0|+|none~0|skip_connect~1|+|skip_connect~0|avg_pool_3x3~1|nor_conv_1x1~2|"
CELL = Nasbench101Cell(((0, 1, 1), (0, 0, 1), (0, 0, 0)), ("input", "conv3x3-bn-relu", "output"))
ROW = row101(CELL, 108, metrics_of(0.9, 0.8))
STATE = pickle.dumps({"12": nats_state(TEXT, {("cifar10-valid", "x-valid"): [80.0, 81.0]}, 12)}, protocol=4)
DEEP = b"\x80\x04}N" + b"\x85" * 100_000 + b"K\x01s."  # a key of tuples in tuples


def tfrecords() -> Made:
    """Whole files with any damage, and files of damaged rows whose checksums are right."""
    whole = framed(ROW) * 3

    def reframed(rng: Random) -> bytes:
        return framed(ROW) + framed(mutated(ROW, rng)[: 1 << 16])

    found = [whole, b"", whole[:-1], framed(b"x", 10**10), framed(b"[" * 60_000), framed(b'["h",108,"","",""]')]
    return found, mutations(whole) | st.builds(reframed, RANDOMS)


def nats() -> Made:
    """One architecture's file, its pickle damaged before it is packed, or its packing."""
    packed = bz2.compress(STATE)
    found = [packed, b"", packed[:-1], *(bz2.compress(one) for one in (b"cos\nsystem\n.", DEEP, b"\0" * 10**8))]
    return found, mutations(packed) | st.builds(lambda rng: bz2.compress(mutated(STATE, rng)), RANDOMS)
