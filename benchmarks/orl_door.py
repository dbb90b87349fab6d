"""The distilled networks of benchmarks/orl.py behind a door, over HTTP: 20 people enrolled, 20 strangers, nobody known before.

    python -m benchmarks.orl_door orl_faces.npz --folder studies/orl [--network 6x16d] [--far 1e-3]

A fold's network is exported (parity proved) and served. Of the fold's ten people five are enrolled from 5 images each; their
other 5, and all 10 of the five strangers come to the door. The threshold for FAR a comparison is that of the *other* three folds'
networks on their own test people, so that neither network nor threshold knows who is judged. Result:
benchmarks/results/orl-door.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.faces import rate, serving
from benchmarks.orl import CPU, FOLDS, PEOPLE, architecture_of, drawn, padded
from benchmarks.steps import record
from edgenas.bundle import Threshold, rewrite_manifest
from edgenas.export.release import Trained, Wishes, bundle_from_trained
from edgenas.faces.verification import Pairs, pairs_from_embeddings, roc_from_pairs
from edgenas.hardware.profile import profile_from_name

RESULT = Path(__file__).parent / "results" / "orl-door.json"
ENROLLED, IMAGES = 5, 5  # people of a fold, and of their images


def threshold_of(asked: argparse.Namespace, labels: NDArray[np.int64], fold: int) -> Threshold:
    """From the other folds' embeddings of people that their networks have not seen."""
    each = []
    for other in (other for other in range(FOLDS) if other != fold):
        embeddings = np.array(json.loads((asked.folder / f"distilled-{other}-0.json").read_text())["embeddings"])
        each.append(pairs_from_embeddings(embeddings, labels[labels // PEOPLE == other]))
    together = Pairs(
        *(np.concatenate([getattr(pairs, name) for pairs in each]) for name in ("scores", "first", "second"))
    )
    value = roc_from_pairs(together).at_far(asked.far)[1]
    return Threshold(value, asked.far, None, int((~together.genuine).sum()), "the other folds")


def door(asked: argparse.Namespace, fold: int, place: Path) -> dict[str, Any]:
    """What one fold's door says: (people, images) each."""
    images, labels = padded(asked.orl)
    network = torch.load(asked.folder / f"distilled-{fold}-0.pt", weights_only=False)
    trained = Trained(network, architecture_of(asked.network), drawn(), profile_from_name("jetson"), "orl")
    bundle = bundle_from_trained(place / f"door{fold}", trained, Wishes(("fp32",)))
    threshold = threshold_of(asked, labels, fold)
    rewrite_manifest(bundle, msgspec.structs.replace(bundle.manifest, threshold=threshold))
    people = range(PEOPLE * fold, PEOPLE * (fold + 1))
    with serving(bundle.folder, place / f"gallery{fold}.db") as ask:
        rows = {person: np.flatnonzero(labels == person) for person in people}
        known, strangers = people[:ENROLLED], people[ENROLLED:]
        for person in known:
            for row in rows[person][:IMAGES]:
                ask("POST", f"/enroll?name=person-{person}", images[row])

        def found(chosen: NDArray[Any]) -> list[str | None]:
            matches = [ask("POST", "/identify", images[row])["match"] for row in chosen]
            return [match and match["name"] for match in matches]

        names = [found(rows[person][IMAGES:]) for person in known]
        right = [[name == f"person-{person}" for name in each] for person, each in zip(known, names, strict=True)]
        somebody = [[name is not None for name in each] for each in names]
        accepted = [[name is not None for name in found(rows[person])] for person in strangers]
    return {"right": right, "somebody": somebody, "accepted": accepted, "threshold": threshold.value}


def result(asked: argparse.Namespace) -> dict[str, Any]:
    """Rates over all folds' doors, with intervals over people."""
    with tempfile.TemporaryDirectory() as name:
        doors = [door(asked, fold, Path(name)) for fold in range(FOLDS)]
    right, somebody, accepted = (
        np.concatenate([np.array(each[key]) for each in doors]) for key in ("right", "somebody", "accepted")
    )
    return {
        "network": asked.network,
        "far": asked.far,
        "thresholds": [each["threshold"] for each in doors],
        "enrolled_identified_pct": rate(right),
        "enrolled_taken_for_another_pct": rate(somebody & ~right),
        "strangers_refused_pct": rate(~accepted),
    }


def main() -> None:
    """Write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orl", type=Path)
    parser.add_argument("--folder", type=Path, default=Path("studies/orl"))
    parser.add_argument("--network", default="6x16d")
    parser.add_argument("--far", type=float, default=1e-3)
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    record(asked.result, "orl-door", lambda: result(asked), CPU)


if __name__ == "__main__":
    main()
