import contextlib
import dataclasses
import re

import msgspec
import onnx
import pytest

from edgenas.bundle import Score, check_destination
from edgenas.errors import BundleError, EdgenasError, ParityError
from edgenas.export.child import outputs_in_child
from edgenas.export.precision import int8_from_onnx
from edgenas.export.release import Wishes, _parts, bundle_from_trained, calibration_indices, check_recorded
from edgenas.hardware.measure import SEARCH
from edgenas.preprocessing import input_from_pixels
from tests.digits_bundle import digits_bundle, trained


def test_a_bundle_says_what_is_in_it_and_where_every_number_is_from():
    bundle = digits_bundle()
    manifest = bundle.manifest
    assert set(manifest.models) == set(bundle.parity) == {"fp32", "fp16", "int8"}
    assert manifest.labels == tuple("0123456789")
    for model in manifest.models.values():
        assert model.scores[0].split == "validation"
        assert model.scores[0].n == 143
        assert [latency.origin for latency in model.latencies] == ["measured"]
    assert manifest.models["int8"].calibration.images == 512
    assert manifest.models["int8"].calibration.split == "train"
    assert manifest.models["fp32"].artifact.opset == trained().profile.onnx_opset


def test_auto_chooses_by_the_target_and_says_why(tmp_path):
    wishes = Wishes(auto=True, max_drop=5, timing=SEARCH)
    manifest = bundle_from_trained(tmp_path / "out", trained("jetson-orin-nano-8gb-super"), wishes).manifest
    latencies = {p: {x.origin: x.ms for x in model.latencies} for p, model in manifest.models.items()}
    fastest = min(latencies, key=lambda p: latencies[p]["predicted"])
    assert manifest.chosen_precision == fastest
    assert any("predicted" in note and fastest in note for note in manifest.notes)


def test_a_precision_that_loses_too_much_is_left_out_with_the_reason(tmp_path):
    wishes = Wishes(("fp16", "fp32"), max_drop=-1, timing=SEARCH)
    manifest = bundle_from_trained(tmp_path / "out", trained(), wishes).manifest
    assert set(manifest.models) == {"fp32"}
    assert manifest.chosen_precision == "fp32"
    assert re.match(r"fp16 loses 0\.00 points .*--max-drop is -1", manifest.left_out["fp16"])


def test_where_it_is_all_that_was_asked_for_nothing_is_written(tmp_path):
    with pytest.raises(ParityError, match=r"fp16 loses 0\.00 points .*--max-drop is -1"):
        bundle_from_trained(tmp_path / "out", trained(), Wishes(("fp16",), max_drop=-1, timing=SEARCH))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("n", "images", "taken"),
    [(143, 2, True), (143, -2, True), (143, 3, False), (143, -3, False), (10_000, 20, True), (10_000, 21, False)],
)
def test_the_recorded_score_may_differ_by_two_images_or_two_of_a_thousand(n, images, taken):
    """As another device's rounding may turn them; more are another network, or other data."""
    score = Score("accuracy", 90.0 + 100 * images / n, "validation", n, "onnxruntime")
    with contextlib.nullcontext() if taken else pytest.raises(EdgenasError, match=r"90\.00 % were recorded"):
        check_recorded(dataclasses.replace(trained(), score=90.0), score)


@pytest.mark.slow
def test_with_auto_it_is_left_out_with_the_reason(tmp_path):
    wishes = Wishes(auto=True, max_drop=-1, timing=SEARCH)
    manifest = bundle_from_trained(tmp_path / "out", trained(), wishes).manifest
    assert set(manifest.models) == {"fp32"}
    assert sum("is left out" in note for note in manifest.notes) == 2


def test_a_destination_that_holds_something_else_is_refused_before_any_work(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    nothing = msgspec.structs.replace(trained().profile, onnx_opset=99)
    assert nothing.onnx_opset == 99
    with pytest.raises(BundleError, match="not empty"):
        bundle_from_trained(tmp_path, trained(), Wishes())


def test_a_destination_that_cannot_be_written_is_refused_before_any_work(tmp_path):
    (tmp_path / "file").write_text("x")
    broken = dataclasses.replace(trained(), network=None)  # nothing can be built of it
    for name in ("file/bundle", "file/deeper/bundle"):
        with pytest.raises(BundleError, match=rf"{tmp_path / name}: Not a directory: nothing was written"):
            bundle_from_trained(tmp_path / name, broken, Wishes())
    check_destination(tmp_path / "new" / "bundle")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_the_scales_of_int8_come_from_512_training_images_drawn_at_random():
    task, plain = trained().task, onnx.load_model(digits_bundle().path("fp32"))
    rows = calibration_indices(len(task.train))
    assert (len(rows), len(set(rows)), max(rows) < len(task.train)) == (512, 512, True)
    assert list(rows) != list(range(512))
    wanted = int8_from_onnx(plain, input_from_pixels(task.train.images[rows], task.preprocessing), stored=True)
    assert scales(onnx.load_model(digits_bundle().path("int8"))) == scales(wanted)


def scales(model: onnx.ModelProto) -> dict[str, list[float]]:
    return {
        t.name: onnx.numpy_helper.to_array(t).ravel().tolist() for t in model.graph.initializer if "_scale" in t.name
    }


def test_a_large_validation_split_is_scored_in_parts_with_the_same_score(tmp_path, monkeypatch):
    """Four children instead of one, of 40 images each in batches of 20."""
    monkeypatch.setattr("edgenas.export.release.SCORING_BATCH", 20)
    monkeypatch.setattr("edgenas.export.release.SCORED_AT_ONCE", 40)
    sent = []

    def counting(model, batches):
        sent.append([len(batch) for batch in batches])
        return outputs_in_child(model, batches)

    monkeypatch.setattr("edgenas.export.release.outputs_in_child", counting)
    bundle = bundle_from_trained(tmp_path / "out", trained(), Wishes(timing=SEARCH))
    assert sent == [[8, 20, 20], [8, 20, 20], [8, 20, 20], [8, 20, 3]]
    assert bundle.manifest.models["fp32"].scores == digits_bundle().manifest.models["fp32"].scores


@pytest.mark.parametrize("side", [8, 64, 128, 224, 512])
def test_what_one_child_gets_is_some_hundred_megabytes_at_most(side):
    parts = list(_parts(100_000, side))
    assert [first for first, _ in parts[1:]] == [last for _, last in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, 100_000)
    megabytes = max(last - first for first, last in parts) * 3 * side * side * 4 / 1e6
    assert megabytes < (400 if side < 512 else 850)  # 256 images are a part at least
