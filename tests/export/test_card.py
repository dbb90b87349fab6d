"""The model card in a bundle: each of its sentences where it is true, and not where it is not."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.binomial import wilson
from edgenas.bundle import CARD, Bundle, Manifest, read_bundle, sealed
from edgenas.errors import BundleError
from edgenas.export.card import model_card, preprocessing_words
from edgenas.export.kinds import Built
from edgenas.export.release import Wishes, bundle_from_trained
from edgenas.hardware.measure import SEARCH
from edgenas.records import Preprocessing
from edgenas.runtimes.onnx_session import open_session
from edgenas.tasks import Task
from tests.digits_bundle import digits_bundle, trained
from tests.export.test_faces import shared_face_bundle
from tests.export.test_kinds import angle_bundle
from tests.trained_digits import digits

DAY = datetime.date(2026, 11, 26)


def card_of(bundle: Bundle) -> str:
    return (bundle.folder / CARD).read_text()


def built(bundle: Bundle, outputs: np.ndarray) -> list[Built]:
    """FP32 of a bundle, with these outputs on the validation split."""
    model = bundle.manifest.models["fp32"]
    none = np.zeros((0, 10), np.float32)
    return [Built("fp32", onnx.ModelProto(), bundle.parity["fp32"], model.scores[0], None, None, none, outputs)]


def card(
    manifest: Manifest | None = None, *, task: Task | None = None, seeds: int | None = 3, value: float | None = None
) -> str:
    """Of the digits bundle, with changes; `value`: another accuracy."""
    bundle, task = digits_bundle(), task or digits()
    made = built(bundle, np.eye(10, dtype=np.float32)[task.val.labels])
    if value is not None:
        score = msgspec.structs.replace(made[0].score, value=value, interval=wilson(value, 143))
        made = [dataclasses.replace(made[0], score=score)]
    return model_card(manifest or bundle.manifest, task, made, seeds, DAY)


def changed(**fields: Any) -> Manifest:
    return msgspec.structs.replace(digits_bundle().manifest, **fields)


def test_it_says_what_the_network_is_and_what_it_was_trained_on() -> None:
    text = card()
    assert text.startswith("# Model card: digits\n")
    assert "says which of 10 classes an image belongs to. Exported by EdgeNAS on 2026-11-26." in text
    assert "13,074 parameters, 296,896 multiply-accumulates for one image" in text
    assert "1,295 training images, 143 validation images, 359 test images" in text
    assert "- Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9." in text


def test_figures_are_those_of_the_manifest_with_their_intervals() -> None:
    bundle = digits_bundle()
    text = card_of(bundle)
    for precision, model in bundle.manifest.models.items():
        (score,) = model.scores
        low, high = wilson(score.value, score.n)
        assert score.interval == pytest.approx((low, high))
        row = next(line for line in text.splitlines() if line.startswith(f"| `{model.artifact.path}` | {precision} |"))
        assert f"{score.value:.2f} % (95 % interval {low:.2f} to {high:.2f})" in row
        assert f"{bundle.parity[precision].max_abs:.2g}" in row
        (latency,) = model.latencies
        shaky = "" if latency.stable else ", unstable"  # as a busy machine measures
        assert f"- {precision}: {latency.ms:.3g} ms measured{shaky} on host-cpu (" in text
        assert latency.detail in text


def test_recall_and_precision_of_each_class_are_counted_on_validation() -> None:
    bundle, task = digits_bundle(), digits()
    with open_session(bundle.path("fp32")) as session:
        from edgenas.preprocessing import input_from_pixels

        logits = session.run({"image": input_from_pixels(task.val.images[:], task.preprocessing)})["logits"]
    called, text = logits.argmax(1), card_of(bundle)
    for label in range(10):
        hits = int(((task.val.labels == label) & (called == label)).sum())
        images, named = int((task.val.labels == label).sum()), int((called == label).sum())
        low, high = wilson(100 * hits / images, images)
        recall = f"{100 * hits / images:.1f} ({low:.1f} to {high:.1f})"
        assert f"| {label} | {images} | {recall} | {100 * hits / named:.1f} |\n" in text


def test_many_classes_are_shown_by_their_least_recall() -> None:
    from edgenas.confusion import confusion_of, of_classes
    from edgenas.export.card import _class_table

    labels = np.arange(60).repeat(2)
    called = np.where(np.arange(120) % 2 == 1, labels, (labels + (labels >= 55)) % 60)  # 55..59: one of two is wrong
    names = tuple(f"c|{n}" for n in range(60))
    lines = _class_table(of_classes(confusion_of(labels, called, 60), names))
    assert lines[0] == "The 50 of 60 classes with the least recall:"
    assert [line.split(" | ")[0] for line in lines[4:9]] == [f"| c\\|{n}" for n in range(55, 60)]
    assert len(lines) == 4 + 50
    few = _class_table(of_classes(confusion_of(labels[:100], labels[:100], 50), names[:50]))
    assert len(few) == 2 + 50


@pytest.mark.parametrize(("value", "chance"), [(10.5, True), (15.5, True), (15.8, False), (96.5, False)])
def test_a_score_at_chance_is_called_so(value: float, chance: bool) -> None:
    """15 of 143 images are of the most frequent class: 10.49 %; two standard errors of it are 5.12 points."""
    text = card(value=value)
    assert ("**This is no better than chance**" in text) is chance
    assert ("Without any learning it would be 10.49 %." in text) is not chance


def test_where_chance_is_not_known_it_says_so() -> None:
    before: Any = digits()
    unknown = type("Unknown", (type(before),), {"chance": None})
    task = unknown(**{field.name: getattr(before, field.name) for field in dataclasses.fields(before)})
    assert "What guessing would score is not known for this task." in card(task=task)
    assert "What guessing" not in card()


SEEDS = {
    None: "How many times it was trained is not recorded.",
    1: "It was trained once, with one seed",
    3: "It is the best on validation of 3 trainings with other seeds",
}


@pytest.mark.parametrize("seeds", SEEDS)
def test_it_says_of_how_many_trainings_it_is_the_best(seeds: int | None) -> None:
    text = card(seeds=seeds)
    assert [said for said in SEEDS.values() if said in text] == [SEEDS[seeds]]


@pytest.mark.parametrize(("images", "wide"), [(143, True), (10_000, False)])
def test_few_validation_images_are_a_limit(images: int, wide: bool) -> None:
    made = built(digits_bundle(), np.eye(10, dtype=np.float32)[digits().val.labels])
    score = msgspec.structs.replace(made[0].score, value=96.5, n=images, interval=wilson(96.5, images))
    text = model_card(digits_bundle().manifest, digits(), [dataclasses.replace(made[0], score=score)], 1, DAY)
    assert (f"{images:,} validation images tell its accuracy no more exactly" in text) is wide


def test_a_licence_is_said_or_said_to_be_unknown() -> None:
    assert "- Licence of the data: CC BY 4.0.\n" in card(changed(data_license="CC BY 4.0"))
    assert "- Licence of the data: not recorded." in card()


def test_a_fixed_batch_is_said() -> None:
    text = card(changed(batch=4))
    assert "- Images at a time: exactly 4.\n" in text
    assert "Latency of one run of 4 images:" in text
    assert "- Images at a time: any number.\n" in card()
    assert "Latency of one run of one image:" in card()


def test_what_the_export_noted_is_among_the_limits() -> None:
    assert "- Trained on the validation images, too.\n" in card(
        changed(notes=("trained on the validation images, too",))
    )
    assert "too." not in card()


def test_what_was_asked_for_and_failed_is_named() -> None:
    assert "int8 was asked for and is not here: it is off.\n" in card(changed(left_out={"int8": "it is off"}))
    assert "was asked for" not in card()


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        (Preprocessing(1, 28, (0.5,), (0.25,), 2), "float32",
         "turned upright, made grey; scaled until it covers 28 px, then its centre is cut out; 2 black pixels added on every "
         "side; divided by 255, minus 0.5, over 0.25"),
        (Preprocessing(3, (64, 320), (0.1, 0.2, 0.3), (1, 2, 3), fit="pad"), "uint8",
         "turned upright, made RGB; scaled until it fits into 64x320 px, the rest filled with grey; fed as it is (the file "
         "normalises by itself)"),
        (Preprocessing(3, 32, (0, 0, 0), (1, 1, 1), fit="stretch"), "float32",
         "turned upright, made RGB; scaled to 32 px, whatever its proportions; divided by 255, minus 0, 0, 0, over 1, 1, 1"),
    ],
)  # fmt: skip
def test_how_an_image_becomes_an_input_is_said_in_order(how: Preprocessing, kind: str, words: str) -> None:
    assert preprocessing_words(how, kind) == words


KINDS = {
    "classification": (
        "edgenas classify BUNDLE",
        "It knows its classes alone",
        "| class | images |",
        "`edgenas evaluate`",
    ),
    "faces": ("--gallery FILE", "whether a face is alive", "It needs a threshold"),
}


def test_each_kind_has_its_own_commands_and_limits() -> None:
    cards = {
        "classification": card_of(digits_bundle()),
        "faces": card_of(shared_face_bundle()),
        "generic": card_of(angle_bundle()),
    }
    for kind, text in cards.items():
        for owner, sentences in KINDS.items():
            assert {sentence in text for sentence in sentences} == {owner == kind}, (kind, owner)
    assert "gives 1 numbers for an image" not in cards["generic"]
    assert "gives one number for an image" in cards["generic"]
    (score,) = shared_face_bundle().manifest.models["fp32"].scores
    assert score.interval is not None
    assert f"(95 % interval {score.interval[0]:.2f} to {score.interval[1]:.2f})" in cards["faces"]
    assert "95 % interval" not in cards["generic"]


# ---------------------------------------------------------------- as a file of the bundle


def test_the_manifest_holds_its_hash_and_a_bundle_without_one_is_still_read(tmp_path: Path) -> None:
    bundle = bundle_from_trained(tmp_path / "b", trained(), Wishes(timing=SEARCH))
    path = bundle.folder / CARD
    text = path.read_text()
    path.write_text(text.replace("Model card", "Model cart"))
    with pytest.raises(BundleError, match=r"model_card\.md was changed after it was exported"):
        read_bundle(bundle.folder)
    path.unlink()
    with pytest.raises(BundleError, match=r"model_card\.md"):
        read_bundle(bundle.folder)
    older = {name: sha256 for name, sha256 in bundle.manifest.files.items() if name != CARD}
    (bundle.folder / "manifest.json").write_bytes(sealed(msgspec.structs.replace(bundle.manifest, files=older)))
    assert CARD not in read_bundle(bundle.folder).manifest.files


def test_an_export_from_a_study_knows_its_seeds_and_the_licence_it_is_told(tmp_path: Path) -> None:
    from tests.cli.test_export import document, run
    from tests.trained_study import trained_study

    study = trained_study(tmp_path / "study")
    found = document(run(study, tmp_path / "out", "--json", "--data-license", "CC BY 4.0"))
    assert found["model_card"] == str(tmp_path / "out" / CARD)
    text = (tmp_path / "out" / CARD).read_text()
    assert "It was trained once, with one seed" in text
    assert "- Licence of the data: CC BY 4.0.\n" in text
    assert read_bundle(tmp_path / "out").manifest.data_license == "CC BY 4.0"


def test_names_are_no_markdown() -> None:
    """Signs of Markdown, of HTML and of formulas in a name are shown, not obeyed; macro_f1 stays as it is."""
    manifest = changed(
        name="my`net", data="a`b", labels=("<b>", "a|b", "x*y*", "_z_", "$1$", "it`s", "[l](u)", "m_1", "8", "9")
    )
    text = card(manifest)
    assert text.startswith("# Model card: my\\`net\n")
    assert "- Trained on `` a`b ``: " in text
    assert r"- Classes: \<b\>, a\|b, x\*y\*, \_z\_, \$1\$, it\`s, \[l\](u), m_1, 8, 9." in text
    assert r"| a\|b | " in text
    assert "- Trained on `digits`: " in card()
