"""What is claimed of faces, measured: `python -m benchmarks.faces compare|orl|door|gallery ...`; results/faces-*.json keep it.

compare STUDY...    the chosen networks, the smallest and the largest of their space, pixels and LDA, on people never seen
orl STUDY ORL.npz   the chosen network trained on drawings, then adapted to and verified on ORL, identity-disjoint, four folds
door STUDY ORL.npz  over HTTP: 20 people enrolled from 5 images, their other 5 and 20 strangers identified; deletion; refusals
gallery             identification among 10,000 people, one core
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import multiprocessing
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.plan import written_plan
from edgenas.export.release import Trained, Wishes, bundle_from_trained
from edgenas.faces.baselines import Lda, pixels
from edgenas.faces.gallery import Gallery
from edgenas.faces.images import resized, rgb_from_array
from edgenas.faces.readers import FaceImages, write_folders
from edgenas.faces.report import report_from_embeddings
from edgenas.faces.verification import normalised
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, Choice, Embedding
from edgenas.store import Store
from edgenas.tasks import Split, Task, TaskSettings, load_task
from edgenas.tasks.faces import Faces, network_pixels
from edgenas.training.loop import fresh_network, outputs_of, train_network
from edgenas.training.recipes import recipe_from_name
from edgenas.training.start import adopt

CPU = torch.device("cpu")
EPOCHS = 10  # of every network that is compared
ORL_EPOCHS = 30


def main(commands: str, *arguments: str) -> None:
    """One command, or several joined by commas that take the same arguments."""
    torch.set_num_threads(1)
    for command in commands.split(","):
        run(command, *arguments)


def run(command: str, *arguments: str) -> None:
    started = time.perf_counter()
    result = {"compare": compare, "orl": orl, "door": door, "gallery": gallery}[command](*arguments)
    result |= {
        "device": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        "torch": torch.__version__,
    }
    result["seconds"] = round(time.perf_counter() - started, 1)
    text = json.dumps(result, indent=1)
    (Path(__file__).parent / "results" / f"faces-{command}.json").write_text(text + "\n")
    print(text)


def chosen(study: str) -> tuple[ChainArchitecture, ChainSpace]:
    """The architecture that a finished search chose, and its space; or a plain chain of DEPTHxWIDTH, such as 4x8."""
    if re.fullmatch(r"\d+x\d+", study):
        depth, width = map(int, study.split("x"))
        space = ChainSpace(Embedding(128), 1, 56, depth, depth, width, width)
        return space.chain(depth, width), space
    with Store.read(Path(study)) as store:
        choice = store.get("choice", "choice", Choice)
        assert choice is not None, f"{study} is not finished"
        architecture = choice.trial.candidate.architecture
        assert isinstance(architecture, ChainArchitecture)
        return architecture, msgspec.json.decode(written_plan(store.study).space.fields, type=ChainSpace)


def trained(architecture: ChainArchitecture, task: Task, epochs: int = EPOCHS, seed: int = 0) -> torch.nn.Module:
    network = fresh_network(architecture, seed, CPU)
    return train_network(network, task, recipe_from_name("fast", task, "cpu", epochs), seed, CPU).network


def compare(*studies: str) -> dict[str, Any]:
    """Two seeds each, scored on the test people; the drawings' own seeds are fixed. Two processes."""
    space = chosen(studies[0])[1]
    networks = {f"winner of {Path(study).name}": chosen(study)[0] for study in studies}
    networks["smallest of the space"] = space.chain(space.min_depth, space.min_width)
    networks["largest of the space"] = space.chain(space.max_depth, space.max_width)
    jobs = [(architecture, seed) for architecture in networks.values() for seed in (0, 1)]
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        reports = pool.map(judged, jobs, chunksize=1)
    rows: dict[str, Any] = {}
    for index, (name, architecture) in enumerate(networks.items()):
        workload = workload_from_architecture(architecture)
        both = reports[2 * index : 2 * index + 2]
        rows[name] = {
            "depth": architecture.depth, "width": architecture.width, "params": workload.params, "macs": workload.macs,
            "embedding": msgspec.to_builtins(architecture.head)["dim"],
            **{f"{t}_ms": profile_ms(t, architecture) for t in ("jetson", "raspberry-pi-4")},
            **{key: [report[key] for report in both] for key in both[0]},
        }  # fmt: skip
    task = load_task(TaskSettings("synthetic", "faces"))
    lda = Lda(pixels(task.train.images), task.train.labels)
    features = pixels(task.test.images)
    for name, embeddings in (("raw pixels", features), ("LDA", lda(features))):
        report = report_from_embeddings(embeddings, task.test.labels)
        rows[name] = {key: [value] for key, value in figures(report).items()}
    return {"test_people": 150, "impostor_pairs": report.pairs["impostor"], "epochs": EPOCHS, "networks": rows}


def judged(job: tuple[ChainArchitecture, int]) -> dict[str, Any]:
    """One network trained with one seed, on the people of the test."""
    torch.set_num_threads(1)
    architecture, seed = job
    task = load_task(TaskSettings("synthetic", "faces"))
    outputs = outputs_of(trained(architecture, task, seed=seed), task.test, task.preprocessing, CPU, 1)
    return figures(report_from_embeddings(outputs.numpy(), task.test.labels))


def figures(report: Any) -> dict[str, Any]:
    return {"auc": report.auc, "tar_at_1e-2": msgspec.to_builtins(report.tar_at_far["1e-2"]), "rank1": report.rank1}


def profile_ms(target: str, architecture: ChainArchitecture) -> float:
    from edgenas.hardware.predictor import latency_from_workload

    profile = profile_from_name(target)
    return round(latency_from_workload(profile, architecture, profile.precision).ms, 4)


def orl_images(path: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(path) as file:
        return np.stack([resized(rgb_from_array(image)) for image in file["x"]]), file["y"].astype(np.int64)


def orl_task(images: np.ndarray, labels: np.ndarray, held_out: np.ndarray, like: Task) -> Faces:
    """Train on the people outside `held_out`; validation is the training people (nothing is chosen by it)."""
    small = network_pixels(images, like.preprocessing.size, 1)
    fit, test = ~np.isin(labels, held_out), np.isin(labels, held_out)
    known, codes = np.unique(labels[fit], return_inverse=True)
    rest = Split(small[fit], codes.astype(np.int64))
    names = tuple(str(person) for person in known)
    return Faces(rest, rest, Split(small[test], labels[test]), names, like.preprocessing, True, like.head, 1e-2)  # type: ignore[arg-type]


def adapted(base: torch.nn.Module, architecture: ChainArchitecture, task: Task, seed: int) -> torch.nn.Module:
    """The network trained on drawings, going on at a fifth of the learning rate."""
    network = fresh_network(architecture, seed, CPU)
    adopt(network, base)
    recipe = recipe_from_name("fast", task, "cpu", ORL_EPOCHS)
    return train_network(network, task, msgspec.structs.replace(recipe, lr=0.2 * recipe.lr), seed, CPU).network


@functools.cache
def drawn_network(study: str) -> torch.nn.Module:
    """The network trained on drawings: where ORL starts from."""
    return trained(chosen(study)[0], load_task(TaskSettings("synthetic", "faces")))


def orl(study: str, data: str) -> dict[str, Any]:
    """Folds of ten people in file order."""
    images, labels = orl_images(data)
    architecture, _ = chosen(study)
    drawings = load_task(TaskSettings("synthetic", "faces"))
    base = drawn_network(study)
    folds = []
    for fold in range(4):
        held_out = np.arange(10 * fold, 10 * fold + 10)
        task = orl_task(images, labels, held_out, drawings)
        judged = {
            "zero-shot": base,
            "adapted": adapted(base, architecture, task, fold),
            "ORL alone": trained(architecture, task, ORL_EPOCHS),
        }
        row: dict[str, Any] = {}
        for name, network in judged.items():
            mirror = [
                outputs_of(network, task.test, task.preprocessing, CPU, 1, mirror=m).numpy() for m in (False, True)
            ]
            row[name] = brief(report_from_embeddings(mirror[0], task.test.labels, mirror[1]))
        test = np.isin(labels, held_out)
        lda = Lda(pixels(images[~test]), labels[~test])
        row["LDA"] = brief(report_from_embeddings(lda(pixels(images[test])), labels[test]))
        row["pixels"] = brief(report_from_embeddings(pixels(images[test]), labels[test]))
        folds.append(row)
        print(fold, row, file=sys.stderr, flush=True)
    mean = {
        name: {
            key: [float(np.mean(v)), float(np.std(v))]
            for key in folds[0][name]
            for v in [[f[name][key] for f in folds]]
        }
        for name in folds[0]
    }
    return {"folds": folds, "mean_and_std": mean, "epochs": ORL_EPOCHS}


def brief(report: Any) -> dict[str, float]:
    return {
        "auc": report.auc, "eer": report.eer, "rank1": report.rank1,
        "tar_at_1e-2": report.tar_at_far["1e-2"].value, "ten_fold": report.ten_fold.mean,
    }  # fmt: skip


def door(study: str, data: str, far: str = "1e-3") -> dict[str, Any]:
    """Two doors, so that nobody is judged by a network or a threshold that knows them: one half of ORL adapts the network
    (12 people) and sets the threshold (8), 10 people of the other half are enrolled and 10 are strangers; then they swap."""
    images, labels = orl_images(data)
    architecture, _ = chosen(study)
    drawings = load_task(TaskSettings("synthetic", "faces"))
    base = drawn_network(study)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as name:
        bundles = []
        for half in (0, 1):
            folder = Path(name) / f"door{half}"
            ours = np.arange(20 * half, 20 * half + 20)  # people at this door
            others = np.setdiff1d(np.arange(40), ours)
            network = adapted(base, architecture, orl_task(images, labels, np.r_[ours, others[12:]], drawings), half)
            release = Trained(network, architecture, drawings, profile_from_name("jetson"), "drawings, then ORL")
            bundles.append(bundle_from_trained(folder, release, Wishes(("fp32",))).folder)
            known = np.isin(labels, others[12:])
            people = Path(name) / f"people{half}"
            write_folders(FaceImages(images[known], labels[known], tuple(map(str, range(40)))), people)
            calibration = edgenas("faces", "calibrate", "--model", folder, "--data", people, "--far", far)
            rows.append(
                at_the_door(folder, images, labels, ours, Path(name) / f"gallery{half}.db")
                | {"calibration": calibration}
            )
        refused = subprocess.run(
            [*EDGENAS, "serve", str(bundles[1]), "--gallery", str(Path(name) / "gallery0.db")],
            capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
    hits = np.concatenate([row.pop("identified") for row in rows])
    wrong = np.concatenate([row.pop("misidentified") for row in rows])
    accepted = np.concatenate([row.pop("strangers_accepted") for row in rows])
    return {
        "far": float(far),
        "doors": rows,
        "enrolled_identified_pct": rate(hits),
        "enrolled_taken_for_another_pct": rate(wrong),
        "strangers_refused_pct": rate(~accepted),
        "another_models_gallery": {"exit": refused.returncode, "says": refused.stderr.strip().splitlines()[-1]},
    }


EDGENAS = (sys.executable, "-m", "edgenas")


def edgenas(*arguments: object) -> Any:
    done = subprocess.run([*EDGENAS, *map(str, arguments), "--json"], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def at_the_door(bundle: Path, images: np.ndarray, labels: np.ndarray, people: np.ndarray, file: Path) -> dict[str, Any]:
    """The first ten people are enrolled from their first five images; all else comes to the door."""
    with serving(bundle, file) as ask:
        rows = {int(person): np.flatnonzero(labels == person) for person in people}
        for person in people[:10]:
            for row in rows[person][:5]:
                ask("POST", f"/enroll?name=person-{person}", images[row])
        found = {int(p): [ask("POST", "/identify", images[r])["match"] for r in rows[p]] for p in rows}
        known = [[match and match["name"] for match in found[int(p)][5:]] for p in people[:10]]
        mine = np.array(
            [[name == f"person-{p}" for name in names] for p, names in zip(people[:10], known, strict=True)]
        )
        somebody = np.array([[name is not None for name in names] for names in known])
        strangers = np.array([[match is not None for match in found[int(p)]] for p in people[10:]])
        gone = int(people[0])
        answer = np.array([ask("POST", "/embed", images[rows[gone][0]])["embedding"]], np.float32)
        vector = normalised(answer).tobytes()  # as enrolment stores it
        there = [vector in on_disk(file)]
        ask("DELETE", f"/people/person-{gone}")
        there.append(vector in on_disk(file))
        left = len(ask("GET", "/people")["people"])
    return {
        "identified": mine,
        "misidentified": somebody & ~mine,
        "strangers_accepted": strangers,
        "deletion": {"bytes_in_file_before_and_after": there, "people_left": left},
    }


def on_disk(file: Path) -> bytes:
    return b"".join(part.read_bytes() for part in file.parent.glob(file.name + "*"))


@contextlib.contextmanager
def serving(bundle: Path, file: Path) -> Iterator[Any]:
    """A server of its own; yields ask(method, path, image)."""
    port = "8761"
    process = subprocess.Popen([*EDGENAS, "serve", str(bundle), "--gallery", str(file), "--port", port])

    def ask(method: str, path: str, image: np.ndarray | None = None) -> Any:
        buffer = io.BytesIO()
        if image is not None:
            Image.fromarray(image).save(buffer, "PNG")
        token = file.with_name(file.name + ".token")  # made by the server
        headers = {"Authorization": f"Bearer {token.read_text().strip()}"} if token.exists() else {}
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}{path}", buffer.getvalue() or None, headers, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return {"match": None, **json.load(error)}  # a refused picture identifies nobody

    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                if ask("GET", "/v2/health/ready")["ready"]:
                    break
            time.sleep(0.1)
        yield ask
    finally:
        process.terminate()
        process.wait(30)


def rate(by_person: np.ndarray) -> dict[str, Any]:
    """Percent with a 95 % bootstrap over people; (people, images)."""
    rng = np.random.default_rng(0)
    means = by_person.mean(axis=1)
    draws = [100 * float(rng.choice(means, len(means)).mean()) for _ in range(2000)]
    low, high = np.percentile(draws, [2.5, 97.5])
    return {
        "value": 100 * float(means.mean()),
        "interval": [round(low, 2), round(high, 2)],
        "people": len(means),
        "n": by_person.size,
    }


def gallery(people: str = "10000", dim: str = "128", probes: str = "500") -> dict[str, Any]:
    """Everybody enrolled with one sample; random unit embeddings, as every vector costs the same."""
    rng = np.random.default_rng(0)
    known = normalised(rng.normal(size=(int(people), int(dim))))
    rows: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name, Gallery(Path(name) / "people.db", "c", int(dim)) as store:
        started = time.perf_counter()
        for person, vector in enumerate(known):
            store.enroll(f"person {person}", vector)
        rows["enrol_s"] = round(time.perf_counter() - started, 2)
        samples = []
        for probe in range(int(probes)):
            vector = known[probe] + 0.02 * rng.normal(size=int(dim)).astype(np.float32)
            started = time.perf_counter()
            (match,) = store.identify(vector, 0.5)
            samples.append(1000 * (time.perf_counter() - started))
            assert match.name == f"person {probe}"
    p50, p90, p99 = np.percentile(samples, [50, 90, 99])
    rows |= {"people": int(people), "dim": int(dim), "n": len(samples)}
    return rows | {"p50_ms": round(p50, 3), "p90_ms": round(p90, 3), "p99_ms": round(p99, 3)}


if __name__ == "__main__":
    main(*sys.argv[1:])
