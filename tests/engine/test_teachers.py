"""`train --teacher`: every kind of teacher, found, checked against the task, kept in the study."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from PIL import Image
from typer.testing import CliRunner

import edgenas
from edgenas.cli.main import app
from edgenas.engine.data import is_own_data, places_of, same_data, same_place, searched_task, settings_now
from edgenas.engine.final import task_to_train
from edgenas.engine.largest import largest_seed
from edgenas.engine.references import FINAL as REFERENCE_FINAL
from edgenas.engine.taught import KIND, Teacher
from edgenas.engine.teacher_outputs import TeacherOutputs, read_outputs, save_outputs
from edgenas.engine.teachers import TRAINED_HERE
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import EdgenasError
from edgenas.export.onnx import describe
from edgenas.methods.settings import SearchSettings
from edgenas.networks.weights import weights_sha256
from edgenas.records import Classes, FinalRun, FinalTraining
from edgenas.store import Store
from edgenas.tasks import Loading, TaskSettings, load_task
from tests.cli.test_compare import digits_file, searched
from tests.damaged_npz import DAMAGES, damaged_npz
from tests.image_folders import fill
from tests.plans import plan, studied
from tests.trained_digits import digits


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return searched(tmp_path_factory.mktemp("taught") / "study")


def train(study: Path, *arguments: str) -> dict[str, Any]:
    result = CliRunner().invoke(app, ["train", str(study), "--seeds", "1", "--epochs", "1", *arguments, "--json"])
    if result.exception is not None:
        raise result.exception
    decoded: dict[str, Any] = msgspec.json.decode(result.stdout)
    return decoded


def final(study: Path) -> FinalTraining:
    with Store.read(study) as store:
        (found,) = store.all("final", FinalTraining).values()
    return found


def outputs_file(study: Path, path: Path, **changes: Any) -> Path:
    """Of somebody's model: sure of the right class. `changes`: to the arrays of the file, None leaves one out."""
    opened = edgenas.open_study(study, quiet=True)
    _, labels = opened.training_images()
    opened.save_outputs(path, 8 * np.eye(10, dtype=np.float32)[labels])
    if changes:
        with np.load(path) as file:
            held = {**file, **changes}
        np.savez(path, **{name: array for name, array in held.items() if array is not None})
    return path


def test_outputs_of_any_model_teach_and_stay_in_the_study(study: Path, tmp_path: Path) -> None:
    path = outputs_file(study, tmp_path / "o.npz")
    found = train(study, "--teacher", str(path))
    recipe = final(study).recipe
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)[str(path)]
    assert (recipe.teacher, recipe.teacher_weight, recipe.temperature) == (teacher.sha256, 0.9, 4.0)
    assert (study / teacher.file).is_file()
    path.unlink()
    assert train(study, "--teacher", str(path)) == found  # nothing is trained again, nor the file needed
    copy = study / teacher.file
    content = copy.read_bytes()
    copy.write_bytes(content[:50])
    with pytest.raises(
        EdgenasError, match=r"o\.npz is not here, and its copy .* SHA-256 differs.: restore one of them"
    ):
        train(study, "--teacher", str(path))
    path.write_bytes(content)
    assert train(study, "--teacher", str(path)) == found
    assert copy.read_bytes() == content

    other = outputs_file(study, tmp_path / "o.npz", outputs=np.zeros((len(digits().train), 10), np.float32))
    assert (
        train(study, "--teacher", str(other))["test_accuracy"] != found["test_accuracy"]
    )  # another file is another teacher
    assert final(study).recipe.teacher != recipe.teacher


def test_outputs_of_another_seeds_images_are_refused_though_their_labels_are_the_same(tmp_path: Path) -> None:
    """Labels of a folder come class by class: each seed has the same, and some of its images validate another seed's students."""
    folder = str(fill(tmp_path / "photos", each=30))
    loading = Loading(tmp_path / "cache", threads=1)
    mine, other = (load_task(TaskSettings(folder, seed=seed), loading) for seed in (0, 1))
    assert np.array_equal(mine.train.labels, other.train.labels)
    assert not np.array_equal(mine.train.images[:], other.train.images[:])
    file, held = tmp_path / "o.npz", TeacherOutputs(np.ones((len(other.train), 2), np.float32))
    save_outputs(file, other, held)
    assert len(read_outputs(file, file.read_bytes(), other).outputs) == len(other.train)
    with pytest.raises(EdgenasError, match="of other training images than this study's"):
        read_outputs(file, file.read_bytes(), mine)
    with np.load(file) as kept:
        np.savez(tmp_path / "plain.npz", outputs=kept["outputs"], labels=kept["labels"])
    with pytest.raises(EdgenasError, match="has no sha256 of the training images"):
        read_outputs(file, (tmp_path / "plain.npz").read_bytes(), mine)


def test_weight_and_temperature_are_the_recipes(study: Path, tmp_path: Path) -> None:
    path = outputs_file(study, tmp_path / "o.npz")
    text = "epochs = 1\nbatch_size = 64\nlr = 0.05\nteacher_weight = 0.5\ntemperature = 2.0\n"
    (tmp_path / "mine.toml").write_text(text)
    train(study, "--teacher", str(path), "--recipe", str(tmp_path / "mine.toml"))
    assert (final(study).recipe.teacher_weight, final(study).recipe.temperature) == (0.5, 2.0)
    train(study, "--recipe", str(tmp_path / "mine.toml"))
    assert (final(study).recipe.teacher, final(study).recipe.teacher_weight) == ("", 0.0)  # without a teacher
    for line, word in (("teacher_weight = 0.0", "above 0 to 1"), ("temperature = 0.0", "above 0 to 100")):
        name = line.split(" ")[0]
        wrong = "\n".join(line if old.startswith(name) else old for old in text.split("\n"))
        (tmp_path / "wrong.toml").write_text(wrong)
        with pytest.raises(EdgenasError, match=f"{name} = 0.0: out of range: it must be {word}"):
            train(study, "--teacher", str(path), "--recipe", str(tmp_path / "wrong.toml"))


def test_a_file_of_the_same_classes_teaches(study: Path, tmp_path: Path) -> None:
    path = digits_file(tmp_path)
    train(study, "--teacher", str(path))
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)[str(path)]
    assert teacher.width == 10
    assert teacher.preprocessing is not None
    assert teacher.preprocessing.mean == digits().preprocessing.mean  # the export says its own


@pytest.mark.slow
def test_another_study_teaches_and_its_weights_come_along(study: Path, tmp_path: Path) -> None:
    other = searched(tmp_path / "other")
    train(study, "--teacher", str(other))
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)[str(other)]
    with Store.read(other) as store:
        (there,) = store.all("final", FinalTraining).values()
    assert teacher.sha256 == there.runs[0].weights_sha256
    assert (study / teacher.file).read_bytes() == (other / there.runs[0].weights).read_bytes()


def test_a_teacher_that_saw_the_validation_images_is_told_where_its_student_is_chosen_by_them(
    study: Path, tmp_path: Path
) -> None:
    other = searched(tmp_path / "other")
    train(other, "--all-images")

    def said(*arguments: str) -> str:
        how = ["train", str(study), "--seeds", "1", "--epochs", "1", "--teacher", str(other), *arguments]
        done = CliRunner().invoke(app, how)
        assert done.exception is None, done.exception
        return done.stderr

    words = f"warning: {other} was trained with --all-images, and so on the images that this study validates on"
    assert words in said()
    assert words not in said("--all-images")  # nothing is chosen by validation
    train(other)
    assert "warning" not in said()


def test_a_data_set_is_no_folder_that_is_called_like_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in a study that took it for one: what it learned from was the data set."""
    fill(tmp_path / "digits")
    monkeypatch.chdir(tmp_path)
    with Store.create(tmp_path / "named", studied(plan(asked=SearchSettings(data="digits")))) as store:
        searched_task(store, print)
        assert store.get("data", "folder", str) is None
        assert places_of(store) == {"digits"}
        store.put("data", "folder", str(tmp_path / "digits"))  # as earlier versions did
        assert places_of(store) == {"digits"}
        assert not is_own_data(store, "./digits")
        assert not same_place("digits", "./digits", "classification")
        assert settings_now(store, None, print).data == "digits"
        monkeypatch.chdir("digits")
        said: list[str] = []
        assert settings_now(store, None, said.append).data == "digits"
        assert said == []
    monkeypatch.chdir(tmp_path)
    with Store.create(tmp_path / "folder", studied(plan(asked=SearchSettings(data="./digits")))) as store:
        assert is_own_data(store, str(tmp_path / "digits"))
        assert not is_own_data(store, "digits")


def test_one_folder_is_one_data_set_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "photos")
    fill(tmp_path / "others")
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    monkeypatch.chdir(tmp_path)

    def study(name: str, data: str, was: Path | None = None) -> Path:
        with Store.create(tmp_path / name, studied(plan(asked=SearchSettings(data=data)))) as store:
            if was is not None:
                store.put("data", "folder", str(was))
        return tmp_path / name

    mine = study("mine", "photos", tmp_path / "photos")
    with Store.read(mine) as store:
        for data in ("photos", "./photos", str(tmp_path / "photos"), "link", "others/../photos"):
            with Store.read(study(f"of {data.replace('/', '-')}", data)) as other:
                assert same_data(store, other)
            assert is_own_data(store, data)
            assert same_place(data, str(tmp_path / "photos"), "classification")
        for data in ("others", "digits"):
            with Store.read(study(f"of {data}", data)) as other:
                assert not same_data(store, other)
            assert not is_own_data(store, data)
            assert not same_place(data, str(tmp_path / "photos"), "classification")
        with Store.read(study("moved", "gone", tmp_path / "photos")) as other:  # called so when it began
            assert same_data(store, other)
        with Store.read(study("elsewhere", "gone", tmp_path / "elsewhere/photos")) as other:
            assert not same_data(store, other)
    with Store.read(study("one", "digits")) as one, Store.read(study("two", "digits")) as two:
        assert same_data(one, two)


def test_the_spaces_largest_network_is_trained_first_and_once(study: Path) -> None:
    first = train(study, "--teacher", "largest")
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)["largest"]
        runs = len(store.all("final-run", msgspec.Raw))
    assert teacher.architecture is not None
    assert teacher.architecture.depth == 10  # type: ignore[union-attr]  # of tests/plans.py's space
    assert teacher.architecture.width == 24  # type: ignore[union-attr]
    assert train(study, "--teacher", "largest") == first
    with Store.read(study) as store:
        assert len(store.all("final-run", msgspec.Raw)) == runs
    (study / teacher.file).unlink()
    assert train(study, "--teacher", "largest") == first  # the teacher is trained again, its student is not
    assert weights_sha256(study / teacher.file) == teacher.sha256


def test_the_largest_network_is_trained_apart_for_a_student_of_all_images(study: Path) -> None:
    first = train(study, "--teacher", "largest") | {"seconds": 0.0}
    with Store.read(study) as store:
        before = store.all(KIND, Teacher)["largest"]
    train(study, "--teacher", "largest", "--all-images")
    with Store.read(study) as store:
        teacher = store.all(KIND, Teacher)["largest"]
        runs = store.all("final-run", FinalRun)
    assert teacher.file != before.file
    seen = {run.weights: bool(run.val) for run in runs.values()}
    assert (seen[before.file], seen[teacher.file]) == (True, False)  # whom a validation score was read of
    assert train(study, "--teacher", "largest") | {"seconds": 0.0} == first
    with Store.read(study) as store:
        assert len(store.all("final-run", FinalRun)) == len(runs)


def test_a_file_of_outputs_is_no_teacher_of_all_images(study: Path, tmp_path: Path) -> None:
    path = outputs_file(study, tmp_path / "o.npz")
    with pytest.raises(
        EdgenasError, match=r"--all-images beside --teacher .*o\.npz: a file of outputs holds those of the training"
    ):
        train(study, "--teacher", str(path), "--all-images")


@pytest.mark.slow
def test_a_public_network_teaches_after_it_was_compared_and_not_before(study: Path) -> None:
    name = "torchvision:shufflenet_v2_x0_5"
    with pytest.raises(EdgenasError, match="knows nothing of these images yet: run `edgenas compare"):
        train(study, "--teacher", name)
    edgenas.open_study(study, quiet=True).compare(name, epochs=1)
    train(study, "--teacher", name)
    with Store.read(study) as store:
        assert store.all(KIND, Teacher)[name].width == 10


def test_a_reference_teaches_as_it_was_trained_here_and_is_not_trained_again_beside_the_one_it_taught(
    tmp_path: Path,
) -> None:
    taught, path = searched(tmp_path / "study"), str(digits_file(tmp_path))
    train(taught)
    study = edgenas.open_study(taught, quiet=True)
    (before,) = study.compare(path, epochs=1).references
    train(taught, "--teacher", path)
    with Store.read(taught) as store:
        teacher, trained = store.all(KIND, Teacher)[path], store.all(REFERENCE_FINAL, FinalTraining)[path]
    assert teacher.sha256 == trained.runs[0].weights_sha256  # not the file, which knows nothing of a new head
    after = study.compare(epochs=1)
    assert after.references == (before,)
    assert after.winners[0].origin == f"from scratch, taught by {path}"
    assert before.scores["accuracy"] == before.each

    for whole in ((), ("--all-images",)):  # it is trained again on the images that it was trained on
        (taught / teacher.file).unlink()
        train(taught, "--teacher", path, *whole)
        assert weights_sha256(taught / teacher.file) == teacher.sha256


def greys(root: Path, first: int = 0) -> Path:
    """Other data than the digits, as small: three classes of grey pictures; `first` is the number of the first one."""
    for path in fill(root, 20, ("a", "b", "c"), first).rglob("*.png"):
        Image.open(path).convert("L").save(path)
    return root


def test_the_largest_network_learns_from_the_other_images_on_which_its_student_goes_on(tmp_path: Path) -> None:
    study, there = searched(tmp_path / "study"), greys(tmp_path / "greys")
    task = load_task(TaskSettings(str(there), image_size=8), Loading(tmp_path / "cache", threads=1))
    with Store.read(study) as store:
        (known,) = store.all("final", FinalTraining).values()
        names = (None, "one", "another")
        how = [TrainingAsked(teacher="largest", data=name, from_trained=name is not None) for name in names]
        seeds = [largest_seed(store, asked, known.recipe, task) for asked in how]
    assert len({seed.key for seed in seeds}) == len({seed.weights for seed in seeds}) == 3
    assert [seed.architecture.head for seed in seeds] == [Classes(10), Classes(3), Classes(3)]

    def taught() -> tuple[Teacher, int]:
        train(study, "--teacher", "largest", "--data", str(there), "--from-trained")
        with Store.read(study) as store:
            return store.all(KIND, Teacher)[f"largest on {there}"], len(store.all("final-run", msgspec.Raw))

    first = taught()
    assert taught() == first
    shutil.rmtree(there)
    greys(there, first=500)
    teacher, _ = taught()  # of other images under this name
    assert teacher.file == first[0].file
    assert teacher.sha256 != first[0].sha256


def test_what_this_studys_images_have_taught_is_no_teacher_on_other_images(study: Path, tmp_path: Path) -> None:
    here, there = Path(shutil.copytree(study, tmp_path / "study")), greys(tmp_path / "greys")
    known = final(here)
    for kind, command in TRAINED_HERE.items():
        with Store.write(here) as store:
            store.put(kind, f"torchvision:{kind}", known)
            store.put(kind, f"timm:{kind}", msgspec.structs.replace(known, classes=tuple("abcdefghij")))
        with pytest.raises(EdgenasError, match=f"`{command}` has trained it on digits, not on .*greys: name another"):
            train(here, "--teacher", f"torchvision:{kind}", "--data", str(there), "--from-trained")
        with pytest.raises(EdgenasError, match=r"knows the classes a, b, c, d, \.\.\. \(10\), and this task has 0, 1"):
            train(here, "--teacher", f"timm:{kind}")


def test_outputs_of_other_images_teach_on_these_alone(study: Path, tmp_path: Path) -> None:
    here, there, path = Path(shutil.copytree(study, tmp_path / "study")), greys(tmp_path / "greys"), tmp_path / "o.npz"
    with Store.read(here) as store:
        task = task_to_train(store, str(there), None, final(here).architecture, print)
    save_outputs(path, task, TeacherOutputs(np.ones((len(task.train), 3), np.float32)))
    how = ("--teacher", str(path), "--data", str(there), "--from-trained")
    found = train(here, *how)
    path.unlink()
    assert train(here, *how) == found
    with pytest.raises(EdgenasError, match="cannot be read"):
        train(here, "--teacher", str(path))
    shutil.rmtree(there)
    greys(there, first=500)
    with pytest.raises(EdgenasError, match="of other training images"):
        train(here, *how)


@pytest.mark.parametrize("seen", [True, False])
def test_on_other_images_too_it_is_told_that_a_teacher_saw_those_of_validation(
    study: Path, tmp_path: Path, seen: bool
) -> None:
    here, there = Path(shutil.copytree(study, tmp_path / "other")), greys(tmp_path / "greys")
    with Store.write(here) as store:
        ((key, known),) = store.all("final", FinalTraining).items()
        data = str(there) if seen else "elsewhere"
        changed = msgspec.structs.replace(known, data=data, classes=("a", "b", "c"), all_images=True)
        store.put("final", key, changed)
    (here / changed.runs[0].weights).unlink()
    how = ["train", str(study), "--teacher", str(here), "--data", str(there), "--from-trained"]
    done = CliRunner().invoke(app, how)
    assert "restore it, or run the `edgenas train` of that study again" in str(done.exception)
    assert ("was trained with --all-images, and so on the images" in done.stderr) is seen


def test_a_teacher_that_does_not_fit_is_refused_in_one_line(study: Path, tmp_path: Path) -> None:
    count = len(digits().train)
    wrong = {
        "few": ({"outputs": np.zeros((5, 10), np.float32)}, rf"one row of floats is needed for each of the {count}"),
        "whole": ({"outputs": np.zeros((count, 10), np.int64)}, "one row of floats is needed"),
        "wide": (
            {"outputs": np.zeros((count, 12), np.float32)},
            "gives 12 numbers for an image, and there are 10 classes",
        ),
        "nan": ({"outputs": np.full((count, 10), np.nan, np.float32)}, "not all finite"),
        "order": ({"labels": np.roll(digits().train.labels, 1)}, "labels are not those of the training images"),
        "short": ({"labels": digits().train.labels[:-1]}, "labels are not those of the training images"),
        "unknown": ({"sha256": None}, "has no sha256 of the training images, and labels alone do not say which"),
        "others": ({"sha256": np.array("0" * 64)}, "of other training images than this study's"),
    }
    cases = [
        (str(outputs_file(study, tmp_path / f"{n}.npz", **changes)), words) for n, (changes, words) in wrong.items()
    ]
    np.savez(tmp_path / "names.npz", logits=np.zeros(3))
    (tmp_path / "text.npz").write_text("no zip")
    for damage, content in damaged_npz("outputs").items():
        (tmp_path / f"{damage}.npz").write_bytes(content)
    path = digits_file(tmp_path)
    model = onnx.load(path)
    describe(model, {"classes": msgspec.json.encode([f"class {i}" for i in range(10)]).decode()})
    onnx.save(model, tmp_path / "classes.onnx")
    cases += [
        (str(tmp_path / "names.npz"), "is no file of outputs"),
        (str(tmp_path / "text.npz"), "is no file of outputs"),
        *((str(tmp_path / f"{damage}.npz"), "is no file of outputs") for damage in DAMAGES),
        (str(tmp_path / "none.npz"), "cannot be read"),
        (str(tmp_path / "none.onnx"), "cannot be read"),
        (str(tmp_path / "classes.onnx"), "knows the classes class 0, class 1, class 2, class 3, ... \\(10\\)"),
        ("bigger", "teacher 'bigger': possible are FILE.onnx"),
        ("torchvision:resnet81=a.pth", "cannot be read|did you mean"),
    ]
    before = final(study)
    for name, complaint in cases:
        with pytest.raises(EdgenasError, match=complaint) as caught:
            train(study, "--teacher", name)
        assert "\n" not in str(caught.value)
    assert final(study) == before
