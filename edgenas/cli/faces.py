"""`edgenas faces`: verification on identity folders, the threshold for a door, and alignment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgenas.cli.help import Group, add
from edgenas.cli.options import SeveralFaces, refuse_beside
from edgenas.cli.output import emit, say, table
from edgenas.ranges import MOST_SEED

if TYPE_CHECKING:
    from edgenas.bundle import Bundle
    from edgenas.faces.recogniser import Recogniser
    from edgenas.faces.report import Report
    from edgenas.records import Precision

faces = typer.Typer(cls=Group, no_args_is_help=True, rich_markup_mode=None)
MODEL = typer.Option(..., help="A bundle, or any recogniser as ONNX that takes (N, 3, 112, 112).")
DATA = typer.Option(..., help="One folder of images per person (any size, grey or colour), or an InsightFace .rec set.")
PRECISION = typer.Option(None, help="fp32, fp16 or int8 of a bundle; its own choice if left out.")


@faces.callback()
def group() -> None:
    """Judge and calibrate recognisers of faces; align images.

    Example: edgenas faces align --detector yunet:face_detection_yunet_2023mar.onnx --data photos --out people

    Example: edgenas faces eval --model bundle --data people
    """


def eval(
    model: Path = MODEL,
    data: Path = typer.Option(..., help="One folder of images per person (any size, grey or colour), .rec or .bin."),
    precision: str | None = PRECISION,
    baselines: bool = typer.Option(True, help="Also judge raw pixels and LDA: see --lda-data."),
    lda_data: Path | None = typer.Option(
        None,
        help="Other people to fit the LDA on, so that it is judged on the same pairs. Default: on each half of these people, "
        "judged on the pairs within the other.",
    ),
    anchor: Path | None = typer.Option(None, help="Another recogniser as ONNX, judged on the same pairs."),
    anchor_mean: str | None = typer.Option(
        None, help="What the anchor takes, if it does not say: (pixel - mean) / std of pixels 0 to 255."
    ),
    anchor_std: str | None = typer.Option(None, help="See --anchor-mean."),
    seed: int = typer.Option(
        0, min=0, max=MOST_SEED, help="Seed of bootstrap, ten-fold pairs and, beyond two million, impostor pairs."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Judge a recogniser on people it does not know: AUC, EER, TAR at FAR, rank-1 and ten-fold accuracy, with intervals over
    identities.

    Example: edgenas faces eval --model bundle --data people

    Example: edgenas faces eval --model bundle --data people --anchor other.onnx
    """
    import msgspec

    from edgenas.errors import DataError, EdgenasError
    from edgenas.faces.pixels import pixels_from_text
    from edgenas.faces.readers import faces_from_path
    from edgenas.faces.recogniser import open_recogniser
    from edgenas.faces.report import baseline_from_pairs, baselines_from_images, report_from_embeddings
    from edgenas.faces.verification import pairs_from_embeddings

    _exists(data)
    pixels_of_anchor = pixels_from_text(anchor_mean, anchor_std, "--anchor")
    if anchor is None and pixels_of_anchor is not None:
        raise EdgenasError("--anchor-mean and --anchor-std say what an --anchor takes: name one")
    if lda_data is not None and not baselines:
        raise EdgenasError(
            "--lda-data is what a baseline is fitted on, and --no-baselines leaves it out: give one of them"
        )
    with open_recogniser(_model_file(model, precision)) as recogniser:
        if data.suffix == ".bin":
            named = {"--anchor": (anchor, None), "--lda-data": (lda_data, None), "--seed": (seed, 0)}
            refuse_beside(named, f"is for people by name, and {data.name} has pairs alone")
            _eval_pairs(recogniser, data, as_json)
            return
        people = faces_from_path(data)
        report = report_from_embeddings(
            recogniser(people.images), people.labels, recogniser.mirrored(people.images), seed=seed
        )
    if baselines:
        others = None if lda_data is None else faces_from_path(lda_data)
        told = None if others is None else (others.images, others.labels)
        found = baselines_from_images(people.images, people.labels, told, seed)
        if lda_data is not None and found["lda"] is None:
            raise DataError(
                f"--lda-data {lda_data}: an LDA needs two people, and images of one person that differ; leave it out, or add some"
            )
        report = msgspec.structs.replace(report, baselines=found)
    if anchor is not None:
        with open_recogniser(anchor, pixels=pixels_of_anchor, any_side=True) as other:
            beside = baseline_from_pairs(pairs_from_embeddings(other(people.images), people.labels, seed=seed))
        report = msgspec.structs.replace(report, baselines={**report.baselines, str(anchor): beside})
    emit(report, as_json=as_json, text=_text(report))


def calibrate(
    model: Path = typer.Option(..., help="A bundle; the threshold is written into its manifest."),
    data: Path = DATA,
    far: float = typer.Option(1e-3, help="False accept rate per comparison."),
    precision: str | None = PRECISION,
    seed: int = typer.Option(
        0, min=0, max=MOST_SEED, help="Seed of bootstrap and, beyond two million, impostor pairs."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Choose the cosine threshold for a false accept rate. It is stored in the bundle, with its interval.

    Example: edgenas faces calibrate --model bundle --data people --far 1e-3
    """
    import msgspec

    from edgenas.bundle import Threshold as Stored
    from edgenas.bundle import read_bundle, rewrite_manifest
    from edgenas.faces.gallery import checked_threshold
    from edgenas.faces.readers import faces_from_path
    from edgenas.faces.recogniser import open_recogniser
    from edgenas.faces.report import threshold_from_embeddings

    _exists(data)
    bundle = read_bundle(model)
    with open_recogniser(_path_of(bundle, precision)) as recogniser:
        people = faces_from_path(data)
        threshold = threshold_from_embeddings(recogniser(people.images), people.labels, far, data.name, seed=seed)
    checked_threshold(threshold.value, f"the threshold for FAR {far:g} on {data.name}")
    at = _precision_of(bundle, precision)
    stored = Stored(threshold.value, far, threshold.interval, threshold.impostor, data.name, at)
    rewrite_manifest(bundle, msgspec.structs.replace(bundle.manifest, threshold=stored))
    if threshold.warning:
        say(f"warning: the threshold {threshold.warning}")
    low, high = threshold.interval
    text = (
        f"threshold {threshold.value:.4f} (95 % interval {low:.4f} .. {high:.4f}) for FAR {far:g}: "
        f"TAR {threshold.tar:.2f} % ({threshold.tar_interval[0]:.2f} .. {threshold.tar_interval[1]:.2f}), "
        f"{threshold.identities} people, {threshold.impostor} impostor pairs; stored in {model} for its {at} file"
    )
    emit(threshold, as_json=as_json, text=text)


def align(
    detector: str = typer.Option(..., help="yunet:FILE.onnx, scrfd:FILE.onnx, centerface or centerface:FILE.onnx."),
    data: Path = typer.Option(..., help="One folder of images per person."),
    out: Path = typer.Option(..., help="Where the aligned 112x112 faces go, one folder per person."),
    detector_sha256: str | None = typer.Option(None, help="Expected SHA-256 of the detector's file."),
    several: SeveralFaces = typer.Option("refuse", help="What becomes of an image with several faces."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Cut the face out of every image, upright, 112x112: by its five landmarks; refused images are counted by reason.

    Example: edgenas faces align --detector yunet:face_detection_yunet_2023mar.onnx --data photos --out people
    """
    from edgenas.faces.aligning import align_folders
    from edgenas.faces.detectors import detector_from_spec
    from edgenas.faces.quality import quality_rules

    _exists(data)
    result = align_folders(data, out, detector_from_spec(detector, detector_sha256), quality_rules(several))
    for path, reason in result.refused:
        say(f"{path}: {reason}")
    counts = result.counts()
    text = f"{result.aligned} faces aligned into {out}" + "".join(f"\n{n} refused: {r}" for r, n in counts.items())
    emit({"aligned": result.aligned, "refused": counts, "out": str(out)}, as_json=as_json, text=text)


def _exists(data: Path) -> None:
    from edgenas.errors import DataError

    if not data.exists():
        raise DataError(f"{data} does not exist: name a folder with one folder per person")


def _model_file(model: Path, precision: str | None) -> Path:
    """The ONNX file of a bundle at a precision, or the file that was named."""
    from edgenas.bundle import read_bundle
    from edgenas.errors import EdgenasError

    if model.is_dir():
        return _path_of(read_bundle(model), precision)
    if not model.is_file():
        raise EdgenasError(f"{model} does not exist: give a bundle's folder or an ONNX file")
    if precision is not None:
        raise EdgenasError(f"--precision {precision} is for bundles; {model} has the one that is in the file")
    return model


def _path_of(bundle: Bundle, precision: str | None) -> Path:
    from edgenas.errors import EdgenasError

    if bundle.kind != "faces":
        raise EdgenasError(f"{bundle.folder} holds a {bundle.manifest.task} model: `edgenas faces` needs a recogniser")
    return bundle.path(_precision_of(bundle, precision))


def _precision_of(bundle: Bundle, precision: str | None) -> Precision:
    return precision or bundle.manifest.chosen_precision  # type: ignore[return-value]  # `Bundle.path` says what there is


def _eval_pairs(recogniser: Recogniser, data: Path, as_json: bool) -> None:
    """A .bin verification set: pairs without names, so no intervals over identities."""
    from edgenas.faces.readers import pairs_from_bin
    from edgenas.faces.report import report_from_pairs

    pairs = pairs_from_bin(data)
    report = report_from_pairs(recogniser(pairs.images), recogniser.mirrored(pairs.images), pairs.same)
    mean = report["ten_fold"]["mean"]
    text = f"ten-fold accuracy {mean:.2f} +- {report['ten_fold']['std']:.2f} %, AUC {report['auc']:.4f}"
    emit(report, as_json=as_json, text=f"{data.name}: {text}, {len(pairs.same)} pairs")


def _text(report: Report) -> str:
    """For people."""
    low, high = report.auc_interval
    rows = [("AUC", f"{report.auc:.4f}", f"{low:.4f} .. {high:.4f}", "")]
    rows.append(("EER %", f"{report.eer:.2f}", f"{report.eer_interval[0]:.2f} .. {report.eer_interval[1]:.2f}", ""))
    for far, found in report.tar_at_far.items():
        if isinstance(found, str):
            rows.append((f"TAR % at FAR {far}", found, "", ""))
        else:
            spread = f"{found.interval[0]:.2f} .. {found.interval[1]:.2f}"
            rows.append((f"TAR % at FAR {far}", f"{found.value:.2f}", spread, found.warning))
    if report.rank1 is not None:
        rows.append(("rank-1 %", f"{report.rank1:.2f}", "", ""))
    if report.ten_fold is not None:
        rows.append(("ten-fold accuracy %", f"{report.ten_fold.mean:.2f} +- {report.ten_fold.std:.2f}", "", ""))
    for name, baseline in report.baselines.items():
        if baseline is not None:
            fitted = baseline.get("fitted_on", "")
            rows.append((f"AUC of {name}", f"{baseline['auc']:.4f}", "", f"fitted on {fitted}" if fitted else ""))
            if "tar" in baseline:
                rows.append((f"TAR % at FAR 1e-2 of {name}", f"{baseline['tar']:.2f}", "", ""))
    pairs = f"{report.pairs['genuine']} genuine and {report.pairs['impostor']} impostor pairs"
    return (
        f"{report.identities} people, {report.images} images, {pairs}\n{table(('', '', '95 % over people', ''), rows)}"
    )


add(faces, eval, calibrate, align)
