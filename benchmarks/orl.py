"""Recognisers on ORL by one protocol: pixels, LDA, a public teacher, and one small network from scratch, adapted and distilled.

    python -m benchmarks.orl orl_faces.npz --teacher MobileFaceNet.tflite [--network 6x16d | STUDY] [--seeds 1] [--epochs 50]
    [--views 1500] [--folder studies/orl] [--most N]

40 people x 10 images, 92 x 112: put into 112 x 112 unscaled, the edges repeated. Four folds in file order: whoever is judged
(10 people) is in no training, neither as an image nor in a view. TAR at FAR 1e-2 over the pairs within all four folds at one
threshold (1,800 genuine, 18,000 impostor pairs), 95 % interval by a bootstrap over people; the mean of the folds, each with a
threshold of its own, beside it. One recipe and one number of steps for every training; a distilled one sees a view for every
image.

Every training is a file under --folder, so that an interrupted run goes on; --most ends after so many. Result:
benchmarks/results/orl.json.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import re
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks import tflite
from benchmarks.faces import chosen, profile_ms
from benchmarks.steps import record, step
from edgenas.architectures.chain import DENSE, ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.teacher_outputs import TeacherOutputs, written
from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.images import SIDE, rgb_from_array
from edgenas.faces.verification import Pairs, SortedPairs, interval, pairs_from_embeddings, rank1, roc_from_pairs
from edgenas.faces.views import face_views
from edgenas.hardware.predictor import latency_from_workload
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, Embedding, Recipe
from edgenas.store import read_toml
from edgenas.tasks import Split, TaskSettings, load_task
from edgenas.tasks.faces import Faces, network_pixels
from edgenas.training.loop import fresh_network, outputs_of, train_network
from edgenas.training.recipes import RecipeFile, recipe_from_file, teaching_of
from edgenas.training.start import adopt
from edgenas.training.teaching import TeacherAt

CPU = torch.device("cpu")
RESULT = Path(__file__).parent / "results" / "orl.json"
FOLDS, PEOPLE, FAR, DRAWS = 4, 10, 1e-2, 1000
ARMS = ("scratch", "adapted", "distilled")
HERE = Path(__file__).parent / "orl.toml"  # the recipe


class EnoughError(Exception):
    """As many trainings as --most allows."""


def padded(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """((400, 112, 112, 3), (400,)): ORL with its sides kept."""
    with np.load(path) as file:
        wide = np.pad(file["x"], ((0, 0), (0, 0), (10, 10)), "edge")
        return np.stack([rgb_from_array(image) for image in wide]), file["y"].astype(np.int64)


def architecture_of(name: str) -> ChainArchitecture:
    """What a finished study chose, or a chain by hand: DEPTHxWIDTH of separable layers, with a d behind it of dense ones."""
    found = re.fullmatch(r"(\d+)x(\d+)(d?)", name)
    if found is None:
        return chosen(name)[0]
    depth, width = int(found[1]), int(found[2])
    space = ChainSpace(Embedding(128), 1, 56, depth, depth, width, width)
    return space.chain(depth, width, (DENSE,) * depth if found[3] else None)


# ---------------------------------------------------------------- one fold, one arm, one seed


def task_of(images: NDArray[np.uint8], labels: NDArray[np.int64], fold: int) -> Faces:
    """Everybody outside the fold is trained on; nothing is chosen by validation, which is the same people."""
    small = network_pixels(images, 56, 1)
    test = labels // PEOPLE == fold
    known, codes = np.unique(labels[~test], return_inverse=True)
    rest = Split(small[~test], codes.astype(np.int64))
    drawings = drawn()
    names = tuple(str(person) for person in known)
    return Faces(rest, rest, Split(small[test], labels[test]), names, drawings.preprocessing, True, drawings.head, FAR)


@functools.cache
def drawn() -> Any:
    """The procedural faces."""
    return load_task(TaskSettings("synthetic", "faces", image_size=56))


def recipe_of(task: Faces, epochs: int, lr: float = 1.0) -> Recipe:
    recipe = recipe_from_file(read_toml(HERE, RecipeFile), "orl", task, "cpu", epochs)
    return msgspec.structs.replace(recipe, lr=lr * recipe.lr)


def train(asked: argparse.Namespace, arm: str, fold: int, seed: int) -> dict[str, Any]:
    """Embeddings of the fold's ten people by a network that has never seen them."""
    started, used = time.monotonic(), time.process_time()
    images, labels = padded(asked.orl)
    task, architecture = task_of(images, labels, fold), architecture_of(asked.network)
    network = fresh_network(architecture, seed, CPU)
    recipe, teacher = recipe_of(task, asked.epochs), None
    if arm == "adapted":
        adopt(network, torch.load(drawings_file(asked, architecture), weights_only=False))
        recipe = recipe_of(task, asked.epochs, 0.2)
    if arm == "distilled":
        teacher = teacher_of(asked, task, images, labels, fold)
        weight, _ = teaching_of(str(HERE), task)
        recipe = msgspec.structs.replace(recipe, teacher=teacher.sha256, teacher_weight=weight)
    network = train_network(network, task, recipe, seed, CPU, teacher=teacher).network
    torch.save(network, asked.folder / f"{arm}-{fold}-{seed}.pt")
    embeddings = outputs_of(network, task.test, task.preprocessing, CPU, 1).numpy()
    return {
        "embeddings": embeddings.astype(float).round(6).tolist(),
        "recipe": msgspec.to_builtins(recipe),
        "seconds": round(time.monotonic() - started, 1),
        "cpu_seconds": round(time.process_time() - used, 1),
    }


def drawings_file(asked: argparse.Namespace, architecture: ChainArchitecture) -> Path:
    """The network trained on drawings, once: what is adapted."""
    path: Path = asked.folder / f"drawings-{architecture.fingerprint}-{asked.drawn}.pt"
    if not path.exists():
        network = fresh_network(architecture, 0, CPU)
        trained = train_network(network, drawn(), recipe_of(drawn(), asked.drawn), 0, CPU).network
        torch.save(trained, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)
    return path


def teacher_of(asked: argparse.Namespace, task: Faces, images: Any, labels: Any, fold: int) -> TeacherAt:
    """The teacher's embeddings of the fold's training people, and of views that mix the people of one other fold at a time: so
    the views of ten people serve three folds."""
    known = labels // PEOPLE != fold
    held = [np.load(views_file(asked, images, labels, other)) for other in range(FOLDS) if other != fold]
    seen, theirs = (np.concatenate([each[name] for each in held]) for name in ("views", "outputs"))
    content = written(TeacherOutputs(clean_outputs(asked)[known], (seen, theirs)), task)
    path = asked.folder / f"teacher-{fold}.npz"
    path.write_bytes(content)
    return TeacherAt(path, hashlib.sha256(content).hexdigest(), theirs.shape[1], further=len(seen))


def views_file(asked: argparse.Namespace, images: Any, labels: Any, group: int) -> Path:
    path: Path = asked.folder / f"views-{group}.npz"
    if not path.exists():
        views = face_views(images[labels // PEOPLE == group], asked.views, seed=group)
        outputs = tflite.recogniser(asked.teacher)(views)
        np.savez(path.with_suffix(".part.npz"), views=network_pixels(views, 56, 1), outputs=outputs)
        path.with_suffix(".part.npz").replace(path)
    return path


def clean_outputs(asked: argparse.Namespace) -> NDArray[np.float32]:
    """(400, D): the teacher's own embeddings."""
    path = asked.folder / "teacher.npy"
    if not path.exists():
        np.save(path.with_suffix(".part.npy"), tflite.recogniser(asked.teacher)(padded(asked.orl)[0]))
        path.with_suffix(".part.npy").replace(path)
    found: NDArray[np.float32] = np.load(path)
    return found


# ---------------------------------------------------------------- the protocol


def judged(by_seed: list[list[NDArray[Any]]], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Of the folds' embeddings, per seed: TAR over all pairs within folds at one threshold, mean over seeds, with an interval
    over people (the same ones drawn for every seed); the mean of the folds' own TARs; AUC; rank-1 within a fold."""
    pooled, draws, folds, aucs, ranks = [], [], [], [], []
    for of_fold in by_seed:
        each = [pairs_from_embeddings(e, labels[labels // PEOPLE == f]) for f, e in enumerate(of_fold)]
        together = Pairs(
            *(np.concatenate([getattr(pairs, name) for pairs in each]) for name in ("scores", "first", "second"))
        )
        ordered, roc = SortedPairs(together), roc_from_pairs(together)
        pooled.append(100 * roc.at_far(FAR)[0])
        draws.append([100 * other.at_far(FAR)[0] for other in ordered.bootstrap(DRAWS, 0)])
        folds.append([100 * roc_from_pairs(pairs).at_far(FAR)[0] for pairs in each])
        aucs.append(roc.auc)
        ranks.append(np.mean([rank1(e, labels[labels // PEOPLE == f]) for f, e in enumerate(of_fold)]))
    return {
        "tar": float(np.mean(pooled)),
        "tar_interval": interval(list(np.mean(draws, axis=0))),
        "tar_by_seed": pooled,
        "tar_by_fold": np.mean(folds, axis=0).tolist(),
        "tar_mean_of_folds": float(np.mean(folds)),
        "auc": float(np.mean(aucs)),
        "rank1": float(np.mean(ranks)),
        "n": {
            "people": FOLDS * PEOPLE,
            "genuine": int(together.genuine.sum()),
            "impostor": int((~together.genuine).sum()),
        },
    }


def baselines(images: NDArray[np.uint8], labels: NDArray[np.int64]) -> dict[str, Any]:
    """Raw pixels, and an LDA of each fold's training people, at the networks' own pixels."""
    seen = pixels(network_pixels(images, 56, 1))
    folds = [labels // PEOPLE == fold for fold in range(FOLDS)]
    raw = [seen[fold] for fold in folds]
    lda = [Lda(seen[~fold], labels[~fold])(seen[fold]) for fold in folds]
    return {"pixels": judged([raw], labels), "lda": judged([lda], labels)}


def result(asked: argparse.Namespace) -> dict[str, Any]:
    """All rows. EnoughError is raised where --most ends it before."""
    images, labels = padded(asked.orl)
    rows, clean = baselines(images, labels), clean_outputs(asked)
    teacher = tflite.workload(asked.teacher)
    jetson = profile_from_name("jetson")
    rows["teacher"] = judged([[clean[labels // PEOPLE == fold] for fold in range(FOLDS)]], labels) | {
        "file": asked.teacher.name,
        "sha256": hashlib.sha256(asked.teacher.read_bytes()).hexdigest(),
        "macs": teacher.macs,
        "params": teacher.params,
        "jetson_ms": round(latency_from_workload(jetson, teacher, jetson.precision).ms, 4),
        "all_pairs": all_pairs(clean, labels),
    }
    architecture = architecture_of(asked.network)
    costs = workload_from_architecture(architecture)
    shared = {"macs": costs.macs, "params": costs.params, "jetson_ms": profile_ms("jetson", architecture)}
    shared["share_of_the_teachers_macs"] = round(costs.macs / teacher.macs, 4)
    left, runs = asked.most, {}
    for seed in range(asked.seeds):
        for arm, fold in [(arm, fold) for arm in asked.arms for fold in range(FOLDS)]:
            path = asked.folder / f"{arm}-{fold}-{seed}.json"
            if not path.exists():
                if left == 0:
                    raise EnoughError
                left -= 1
            name = f"{arm}, fold {fold}, seed {seed}"
            decides = ["network", "epochs", *(["views"] * (arm == "distilled")), *(["drawn"] * (arm == "adapted"))]
            runs[arm, fold, seed] = step(
                path,
                name,
                functools.partial(train, asked, arm, fold, seed),
                CPU,
                {key: vars(asked)[key] for key in decides},
            )
    for arm in asked.arms:
        of_arm = [[runs[arm, fold, seed] for fold in range(FOLDS)] for seed in range(asked.seeds)]
        found = judged([[np.array(run["embeddings"]) for run in folds] for folds in of_arm], labels)
        cpu = sum(run["cpu_seconds"] for folds in of_arm for run in folds)
        rows[arm] = found | shared | {"seeds": asked.seeds, "cpu_seconds": round(cpu, 1)}
    settings = {
        key: str(value) for key, value in vars(asked).items() if key in ("network", "seeds", "epochs", "drawn", "views")
    }
    return {"protocol": (__doc__ or "").split("\n\n")[2], "side": SIDE, "settings": settings, "rows": rows}


def all_pairs(embeddings: NDArray[Any], labels: NDArray[np.int64]) -> dict[str, float]:
    """Over the pairs of all 40 people, as others count."""
    roc = roc_from_pairs(pairs_from_embeddings(embeddings, labels))
    return {"tar": 100 * roc.at_far(FAR)[0], "auc": roc.auc}


def main() -> None:
    """Train what is left, and write the result once nothing is. Exit code 3: there is more to do."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("orl", type=Path)
    parser.add_argument("--teacher", type=Path, required=True)
    parser.add_argument("--network", default="6x16d")
    parser.add_argument("--arms", nargs="*", default=list(ARMS))
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--drawn", type=int, default=5, help="epochs on drawings, before adapting")
    parser.add_argument("--views", type=int, default=1500, help="of each fold's ten people")
    parser.add_argument("--most", type=int, default=-1)
    parser.add_argument("--folder", type=Path, default=Path("studies/orl"))
    parser.add_argument("--result", type=Path, default=RESULT)
    asked = parser.parse_args()
    asked.folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    try:
        record(asked.result, "orl", lambda: result(asked), CPU)
    except EnoughError:
        sys.exit(3)


if __name__ == "__main__":
    main()
