import hashlib
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import numpy as np
import onnx
import pytest
from onnx import helper

from edgenas.bundle import BundleError, Threshold, read_bundle, rewrite_manifest, sealed, write_bundle
from edgenas.durable import alone_in
from edgenas.identity import canonical_json
from edgenas.records import ACCURACY, TAR
from edgenas.runtimes.child import child_environment
from edgenas.runtimes.onnx_session import open_session
from tests.digits_bundle import digits_bundle


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(digits_bundle().folder, tmp_path / "bundle"))


def refused(folder: Path) -> str:
    with pytest.raises(BundleError) as caught:
        read_bundle(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_golden_outputs_are_what_onnx_runtime_gives_again():
    bundle = digits_bundle()
    golden = bundle.golden()
    for precision in bundle.manifest.models:
        with open_session(bundle.path(precision)) as runtime:
            np.testing.assert_allclose(runtime.run({"image": golden["inputs"]})["logits"], golden[precision], atol=1e-5)


def test_the_manifest_holds_the_hash_of_its_own_canonical_form_and_of_every_other_file():
    folder = digits_bundle().folder
    fields = json.loads((folder / "manifest.json").read_text())
    own = fields.pop("sha256")
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(canonical.encode()).hexdigest() == own
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}
    del found["manifest.json"]
    assert found == fields["files"]


def test_a_bundle_written_before_a_field_existed_is_read_and_still_guards_its_bytes(folder):
    path = folder / "manifest.json"
    fields = json.loads(path.read_text())
    for later in ("sha256", "notes", "threshold", "data_license", "kind", "metric"):
        del fields[later]
    del fields["models"]["fp32"]["calibration"], fields["preprocessing"]["fit"]

    def text(fields):
        canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        own = {**fields, "sha256": hashlib.sha256(canonical).hexdigest()}
        return json.dumps(own, sort_keys=True, indent=2, ensure_ascii=False) + "\n"

    path.write_text(text(fields))
    bundle = read_bundle(folder)
    manifest = bundle.manifest
    assert (manifest.notes, manifest.preprocessing.fit) == ((), "crop")
    assert (bundle.kind, bundle.metric) == ("classification", ACCURACY)
    assert manifest.fingerprint == digits_bundle().manifest.fingerprint
    path.write_text(text(fields).replace('"classification"', '"faces"'))
    assert "its own SHA-256 differs" in refused(folder)
    path.write_text(text({**fields, "task": "faces", "labels": []}))
    assert (read_bundle(folder).kind, read_bundle(folder).metric) == ("faces", TAR)
    path.write_text(text({**fields, "task": "plants", "labels": []}))
    assert read_bundle(folder).kind == "generic"  # nothing is known of what its outputs mean
    path.write_text(text({**fields, "colour": 1}))
    assert "unknown field `colour`" in refused(folder)


def test_a_changed_byte_anywhere_in_any_file_is_refused(folder):
    rng = np.random.default_rng(0)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for position in {0, len(content) - 1, *rng.integers(0, len(content), 40).tolist()}:
            changed = bytearray(content)
            changed[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(changed))
            refused(folder)
        path.write_bytes(content)
    read_bundle(folder)


@pytest.mark.slow
def test_every_single_byte_of_the_manifest_and_the_parity_report_counts(folder):
    for name in ("manifest.json", "parity.json"):
        path = folder / name
        content = path.read_bytes()
        for position in range(len(content)):
            path.write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
            refused(folder)
        path.write_bytes(content)


def test_missing_shortened_and_lengthened_files_are_refused(folder):
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        path.unlink()
        refused(folder)
        for other in (b"", content[:-1], content + b"\n"):
            path.write_bytes(other)
            refused(folder)
        path.write_bytes(content)


@pytest.mark.parametrize("name", ["../outside.txt", "/etc/hostname", "a/../../outside.txt", "..\\outside.txt", ""])
def test_a_path_that_leaves_the_folder_is_refused_even_with_right_hashes(folder, name):
    (folder.parent / "outside.txt").write_text("secret")
    manifest = read_bundle(folder).manifest
    files = {**manifest.files, name: hashlib.sha256(b"secret").hexdigest()}
    (folder / "manifest.json").write_bytes(sealed(_with(manifest, files=files)))
    assert "outside" in refused(folder)


def test_a_link_that_leaves_the_folder_is_refused(folder):
    outside = folder.parent / "model.onnx"
    (folder / "model.onnx").rename(outside)
    (folder / "model.onnx").symlink_to(outside)
    assert "outside the bundle" in refused(folder)


def test_an_unknown_schema_version_is_named(folder):
    manifest = read_bundle(folder).manifest
    (folder / "manifest.json").write_bytes(sealed(_with(manifest, schema=99)))
    assert "schema 99" in refused(folder)


def test_an_unknown_key_is_refused(folder):
    fields = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**fields, "surprise": 1}))
    assert "damaged" in refused(folder)


@pytest.mark.parametrize("make", ["external", "operator", "subgraph", "garbage"])
def test_an_unsafe_model_is_refused_even_with_right_hashes(folder, make):
    model = onnx.load(folder / "model.onnx")
    if make == "external":
        model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
        model.graph.initializer[0].external_data.add(key="location", value="weights.bin")
    elif make == "operator":
        model.graph.node.append(helper.make_node("RandomNormal", [], ["noise"], shape=[1]))
    elif make == "subgraph":
        branch = helper.make_graph([], "inner", [], [])
        model.graph.node.append(helper.make_node("If", ["c"], ["z"], then_branch=branch, else_branch=branch))
    content = b"not onnx" if make == "garbage" else model.SerializeToString()
    _replace_model(folder, content)
    assert "model.onnx" in refused(folder)


def test_a_model_of_another_shape_than_described_is_refused(folder):
    model = onnx.load(folder / "model.onnx")
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9
    _replace_model(folder, model.SerializeToString())
    refused(folder)


@pytest.mark.parametrize("change", [{"passed": False}, {"precision": "fp16"}])
def test_a_model_whose_parity_did_not_pass_or_is_not_there_is_refused_even_with_right_hashes(folder, change):
    entries = json.loads((folder / "parity.json").read_text())
    assert (entries[0]["precision"], entries[0]["passed"]) == ("fp32", True)
    content = json.dumps([entries[0] | change, *entries[1:]]).encode()
    (folder / "parity.json").write_bytes(content)
    manifest = read_bundle(digits_bundle().folder).manifest
    files = {**manifest.files, "parity.json": hashlib.sha256(content).hexdigest()}
    (folder / "manifest.json").write_bytes(sealed(_with(manifest, files=files)))
    assert "the fp32 model has no proof of parity" in refused(folder)


@pytest.mark.parametrize("count", [9, 11])
def test_another_number_of_labels_than_outputs_is_refused(folder, count):
    manifest = read_bundle(folder).manifest
    labels = (*manifest.labels, "one more")[:count]
    (folder / "manifest.json").write_bytes(sealed(_with(manifest, labels=labels)))
    assert f"{count} labels for 10 outputs" in refused(folder)


def test_a_threshold_is_added_by_sealing_the_manifest_again(folder):
    bundle = read_bundle(folder)
    threshold = Threshold(0.4, 1e-3, (0.35, 0.45), 4500, "orl")
    again = rewrite_manifest(bundle, _with(bundle.manifest, threshold=threshold))
    assert again.manifest.threshold == threshold
    assert again.manifest.files == bundle.manifest.files


def test_a_threshold_of_before_its_precision_was_written_down_is_read(folder):
    bundle = read_bundle(folder)
    threshold = Threshold(0.4, 1e-3, (0.35, 0.45), 4500, "orl")
    fields = msgspec.to_builtins(_with(bundle.manifest, threshold=threshold))
    del fields["sha256"], fields["threshold"]["precision"]
    fields["sha256"] = hashlib.sha256(canonical_json(fields)).hexdigest()
    (folder / "manifest.json").write_bytes(msgspec.json.format(canonical_json(fields), indent=2) + b"\n")
    assert read_bundle(folder).manifest.threshold == threshold


def test_a_folder_that_is_no_bundle_is_neither_read_nor_overwritten(tmp_path):
    assert "holds no bundle" in refused(tmp_path)
    (tmp_path / "thesis.txt").write_text("years of work")
    bundle = digits_bundle()
    with pytest.raises(BundleError, match="not empty"):
        write_bundle(tmp_path, bundle.manifest, {})
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({"manifest.json": '{"name": "a web app"}'}, "not empty and holds no bundle"),
        ({"manifest.json": "{}", "parity.json": "[]", "people.db": "faces"}, "people.db, too, which is no part of a bundle"),
        ({"manifest.json": "{}", "parity.json": "[]", "src/main.js": "work"}, "src/, too, which is no part of a bundle"),
        ({"manifest.json": "{}", "parity.json": "[]", "faces.json/x": "work"}, "faces.json/, too, which is no part"),
        ({"manifest.json": "{}", "parity.json": "[]", ".mine.json.0a1b2c3d": "work"}, "mine.json, too, which is no part"),
    ],
)  # fmt: skip
def test_what_is_no_part_of_a_bundle_is_never_removed_by_a_new_one(tmp_path, others, words):
    for name, text in others.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(BundleError, match=words):
        write_bundle(tmp_path, digits_bundle().manifest, {})
    assert {name: (tmp_path / name).read_text() for name in others} == others


def test_writing_again_replaces_the_bundle_and_a_failure_leaves_the_old_one_alone(folder):
    files = {name: (folder / name).read_bytes() for name in read_bundle(folder).manifest.files}
    manifest = read_bundle(folder).manifest
    write_bundle(folder, _with(manifest, data="other"), files)
    assert read_bundle(folder).manifest.data == "other"
    with pytest.raises(BundleError):
        write_bundle(folder, manifest, {**files, "model.onnx": b"not onnx"})
    assert read_bundle(folder).manifest.data == "other"
    assert [path.name for path in folder.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize("empty", [True, False])
def test_a_bundle_is_not_put_in_place_of_the_working_directory(folder, monkeypatch, empty):
    """Whoever stands in it would stand nowhere."""
    files = {name: (folder / name).read_bytes() for name in read_bundle(folder).manifest.files}
    here = folder.parent / "empty" if empty else folder
    here.mkdir(exist_ok=True)
    before = {path.name: path.read_bytes() for path in here.iterdir()}
    monkeypatch.chdir(here)
    with pytest.raises(
        BundleError, match=r"\. is or holds the working directory, .* choose another --out, such as bundle"
    ):
        write_bundle(Path(), read_bundle(folder).manifest, files)
    assert here.samefile(".")
    assert {path.name: path.read_bytes() for path in here.iterdir()} == before


def test_a_bundle_takes_the_place_of_one_whose_manifest_was_being_rewritten_when_the_process_was_killed(folder):
    script = (
        "import os, sys; from pathlib import Path; from edgenas.bundle import read_bundle, rewrite_manifest\n"
        "bundle = read_bundle(Path(sys.argv[1])); os.fsync = lambda _: os.kill(os.getpid(), 9)\n"
        "rewrite_manifest(bundle, bundle.manifest)"
    )
    killed = subprocess.run([sys.executable, "-c", script, str(folder)], env=child_environment(), check=False)
    assert killed.returncode == -9
    before = {path.name for path in digits_bundle().folder.iterdir()}
    (left,) = {path.name for path in folder.iterdir()} - before
    assert left.startswith(".manifest.json.")
    bundle = read_bundle(folder)
    write_bundle(folder, bundle.manifest, {name: (folder / name).read_bytes() for name in bundle.manifest.files})
    assert {path.name for path in folder.iterdir()} == before


def test_a_manifest_is_not_written_into_a_bundle_that_was_exported_anew_meanwhile(folder):
    bundle = read_bundle(folder)
    files = {name: (folder / name).read_bytes() for name in bundle.manifest.files}
    newer = write_bundle(folder, _with(bundle.manifest, data="other"), files)
    with pytest.raises(BundleError, match="was written anew meanwhile, nothing was changed"):
        rewrite_manifest(bundle, _with(bundle.manifest, threshold=Threshold(0.4, 1e-3, (0.35, 0.45), 4500, "orl")))
    assert read_bundle(folder) == newer


def test_a_manifest_waits_for_a_bundle_that_is_being_put_in_place(folder):
    bundle = read_bundle(folder)
    threads = [threading.Thread(target=rewrite_manifest, args=(bundle, _with(bundle.manifest, data="other")))]
    with alone_in(folder):
        threads[0].start()
        threads[0].join(0.3)
        assert read_bundle(folder) == bundle
    threads[0].join(120)
    assert read_bundle(folder).manifest.data == "other"


def _with(manifest, **changes):
    import msgspec

    return msgspec.structs.replace(manifest, **changes)


def _replace_model(folder: Path, content: bytes) -> None:
    """Another model.onnx with every hash made right again."""
    manifest = read_bundle(folder).manifest
    (folder / "model.onnx").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    model = manifest.models["fp32"]
    models = {**manifest.models, "fp32": _with(model, artifact=_with(model.artifact, sha256=sha256))}
    (folder / "manifest.json").write_bytes(
        sealed(_with(manifest, models=models, files={**manifest.files, "model.onnx": sha256}))
    )
