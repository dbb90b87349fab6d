"""An argument that is not what its annotation says is one line about it, from every function and before any work."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import edgenas
from edgenas.api.arguments import KINDS, NO_WORD, checked
from edgenas.architectures.chain import chain
from edgenas.engine.call import Where
from edgenas.records import Classes

STUDY = edgenas.Study(Path("nowhere"))
FUNCTIONS: dict[str, Callable[..., Any]] = {
    name: getattr(edgenas, name) for name in ("search", "train", "open_study", "predict", "describe", "calibrate")
}
FUNCTIONS |= {
    f"Study.{name}": getattr(STUDY, name)
    for name, one in inspect.getmembers(edgenas.Study, inspect.isfunction)
    if not name.startswith("_") and len(inspect.signature(one).parameters) > 1
}
# What the functions check themselves: objects, arrays, and what has several forms.
ELSEWHERE = {
    "Data",
    "File | Architecture",
    "File | HardwareProfile",
    "File | Sequence[File] | Study",
    'Literal["float32", "uint8"]',
    'Literal["matched", "macro"]',
    "NDArray[Any]",
    "SpaceForData",
    "Study | File",
    "Task",
    "float | tuple[float, float, float]",
    "int | tuple[int, int] | str",
    "str | MethodSpec",
    "str | SpaceForData",
    "tuple[NDArray[np.uint8], NDArray[Any]]",
}
NET = chain(16, 4, (0,) * 4, (3,) * 4, Classes(10))


class Strange:
    """Nothing that anybody takes."""

    def __repr__(self) -> str:
        return "strange\n" + 200 * "!"


def arguments() -> list[tuple[str, str, str]]:
    """(function, parameter, annotation)."""
    return [
        (function, name, parameter.annotation.replace("'", '"'))
        for function, called in FUNCTIONS.items()
        for name, parameter in inspect.signature(called).parameters.items()
    ]


def refused(function: str, *others: Any, **given: Any) -> str:
    """The line, from a call that would find nothing wrong elsewhere."""
    called = FUNCTIONS[function]
    needed = {
        name: "x"
        for name, one in list(inspect.signature(called).parameters.items())[len(others) :]
        if one.default is one.empty and one.kind is not one.VAR_POSITIONAL
    }
    with pytest.raises(edgenas.EdgenasError) as caught:
        called(*others, **{**needed, **given})
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_every_argument_is_checked_by_its_annotation_or_by_its_function() -> None:
    assert {"search", "Study.train", "Study.report", "Study.front", "Study.export", "Study.go_on"} <= set(FUNCTIONS)
    kinds = {annotation.removesuffix(NO_WORD) for _, _, annotation in arguments()}
    assert kinds - set(KINDS) == ELSEWHERE
    assert set(KINDS) <= kinds


@pytest.mark.parametrize(
    ("function", "name", "annotation"), [one for one in arguments() if one[2].removesuffix(NO_WORD) in KINDS]
)
def test_an_argument_of_another_type_is_one_line(function: str, name: str, annotation: str) -> None:
    wrong = [Strange(), 3.5] if "float" not in annotation else [Strange(), "3.5"]
    wrong += [True] if annotation.removesuffix(NO_WORD) in ("int", "float") else []
    for value in wrong:
        line = refused(function, **{name: value})
        assert line.startswith(f"{name}={str(value)[:7]}" if not isinstance(value, str) else f"{name}='3.5'")
        assert line.endswith(f": give {KINDS[annotation.removesuffix(NO_WORD)][1]}")
        assert len(line) < 200
    if not annotation.endswith(NO_WORD):
        assert refused(function, **{name: None}).startswith(f"{name}=None: give ")


@pytest.mark.parametrize(
    ("function", "others", "given", "words"),
    [
        ("predict", (NET, "jetson"), {"batch": 1.5}, "batch=1.5: give a whole number"),
        ("predict", (None, "jetson"), {}, "network=None: give a network (an ONNX file"),
        ("predict", ([NET, 5], "jetson"), {}, "give a network (an ONNX file"),
        ("predict", (NET, 5), {}, "unknown target '5'"),
        ("predict", (NET, "jetson"), {"shapes": {"image": 5}}, "give a dict of sizes by names"),
        ("predict", (NET, "jetson"), {"image_size": 2.5}, "image size '2.5': write 64"),
        ("describe", (5,), {}, "'5' is no .onnx or .json file"),
        ("calibrate", (5, "jetson"), {}, "5 is no file of measurements"),
        ("calibrate", (["a.csv", None], "jetson"), {}, "None is no file of measurements"),
        ("search", (5,), {"target": "jetson"}, "task 'int' has no `name`"),
        ("search", (), {"target": "jetson", "method": 5}, "--method 5 was asked for: it takes text"),
        ("search", (), {"target": "jetson", "space": 5}, "this space has no name"),
        ("search", (), {"target": "jetson", "image_size": 2.5}, "image size '2.5': write 64"),
        ("search", (), {"target": ["jetson", 5]}, "target=['jetson', 5]: give text, or a list of texts"),
        ("search", (), {"target": "jetson", "processes": 0}, "--processes 0: at least one"),
        ("search", (), {"target": "jetson", "workers": -1}, "--workers -1: as many processes as shall train, or 0"),
        ("Study.go_on", (), {"data": 5}, "task 'int' has no `name`"),
        ("train", (5, "digits"), {}, "'5' is no .onnx or .json file"),
        ("Study.export", ("b",), {"precision": ()}, "no precision was asked for; possible: fp32, fp16, int8, or auto"),
        ("Study.export", ("b",), {"input": 5}, "--input 5 was asked for; possible: float32, uint8"),
        ("Study.training_images", ("64x",), {}, "image size '64x': write 64"),
        ("Study.training_images", ((64, 64, 3),), {}, "image size '(64, 64, 3)': write 64"),
        ("Study.save_outputs", ("o.npz", [[1.0], [1.0, 2.0]]), {}, "outputs cannot be read as an array"),
        ("Study.save_outputs", ("o.npz", np.zeros((2, 2))), {"further": 5}, "further: give a pair"),
        ("Study.report", ("r.html", "nowhere"), {}, "no study 'nowhere'"),
        ("Study.report", ("r.html", 5), {}, "no study '5'"),
    ],
)
def test_what_functions_check_themselves_is_one_line_too(
    function: str,
    others: tuple[Any, ...],
    given: dict[str, Any],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words in refused(function, *others, **given)


def test_what_was_meant_is_taken() -> None:
    """NumPy's numbers, as out of a table of trials, are numbers; a tuple is a list; both forms of a path are paths."""

    @checked
    def same(count: int = 0, share: float | None = None, *, sure: bool = False) -> tuple[object, ...]:
        return count, share, sure

    for count, share, sure in ((3, 2.5, True), (np.int64(3), np.float32(2.5), np.bool_(True))):
        found = same(count, share, sure=sure)  # type: ignore[arg-type]
        assert (found, [type(one) for one in found]) == ((3, 2.5, True), [int, float, bool])
    assert same(2, share=1) == (2, 1, False)
    holds = {kind: one[0] for kind, one in KINDS.items()}
    assert holds["Sequence[int]"]([1, np.int64(3)])
    assert all(map(holds["File"], ("a", Path("a"))))
    assert all(map(holds["str | Sequence[str]"], ("a", ["a", "b"], ("a",), ())))
    assert not any(map(holds["str | Sequence[str]"], (b"a", ["a", 5], {"a"}, Path("a"))))
    assert holds["Asked | Sequence[Asked]"]([NET, "a.onnx"])
    with pytest.raises(TypeError, match="unexpected keyword argument 'seed'"):
        STUDY.train(seed=1)
    assert (Where(workers=0).workers, Where(processes=1).processes) == (0, 1)
