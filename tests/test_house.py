"""Promises about the whole: start-up without torch, one ONNX Runtime, layers as pictured."""

import ast
import graphlib
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    "module",
    ["edgenas.cli.main", "edgenas.remote", "edgenas.bundle", "edgenas.hardware.cost", "edgenas.methods.gnas"],
)
def test_what_the_device_and_the_command_line_import_loads_no_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


LISTING = [path for path in sorted((ROOT / "edgenas").rglob("*.py")) if "\n__all__ = [" in path.read_text()]


@pytest.mark.parametrize("path", LISTING, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_a_module_says_it_has_is_there(path: Path) -> None:
    parts = path.relative_to(ROOT).with_suffix("").parts
    module = importlib.import_module(".".join(part for part in parts if part != "__init__"))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


@pytest.mark.parametrize("family", ["onnxruntime", "opencv"])
def test_exactly_one_distribution_provides_a_package(family: str) -> None:
    names = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    assert len([name for name in names if name and name.lower().startswith(family)]) == 1


def test_the_picture_in_contributing_is_the_contract() -> None:
    picture = (ROOT / "CONTRIBUTING.md").read_text()
    drawn = re.search(r"```\n(cli > .*?)```", picture, re.DOTALL)
    assert drawn is not None
    contract = (ROOT / "pyproject.toml").read_text()
    layers = re.search(r"layers = \[(.*?)\n\]", contract, re.DOTALL)
    assert layers is not None
    in_contract = [re.findall(r"edgenas\.(\w+)", line) for line in layers[1].strip().splitlines()]
    assert [re.findall(r"\w+", layer) for layer in drawn[1].split(">")] == in_contract
    there = {
        file.stem for file in (ROOT / "edgenas").iterdir() if file.suffix == ".py" or (file / "__init__.py").exists()
    }
    assert {name for layer in in_contract for name in layer} == there - {"__init__", "__main__"}


def test_what_never_has_torch_is_what_the_contract_forbids_it() -> None:
    said = re.search(r"Never torch: (.*?)\. That", (ROOT / "CONTRIBUTING.md").read_text(), re.DOTALL)
    assert said is not None
    forbidden = re.search(r"source_modules = \[(.*?)\n\]", (ROOT / "pyproject.toml").read_text(), re.DOTALL)
    assert forbidden is not None
    assert sorted(re.findall(r"\w+", said[1])) == sorted(re.findall(r"edgenas\.(\w+)", forbidden[1]))


def imported(file: Path, modules: dict[str, Path]) -> set[str]:
    """The modules of edgenas that a file imports, at its top or later; what is imported for types alone is left out."""
    tree = ast.parse(file.read_text())
    typing_only = [n for n in ast.walk(tree) if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test)]
    left_out = {id(inner) for outer in typing_only for inner in ast.walk(outer)}
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in left_out:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (names & modules.keys()) or {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & modules.keys()


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Late imports count: they hide a circle, they do not end it."""
    files = {file.relative_to(ROOT).with_suffix(""): file for file in (ROOT / "edgenas").rglob("*.py")}
    modules = {".".join(path.parts).removesuffix(".__init__"): file for path, file in files.items()}
    graph = {name: imported(file, modules) - {name} for name, file in modules.items()}
    assert sum(map(len, graph.values())) > 500
    graphlib.TopologicalSorter(graph).prepare()  # CycleError names the modules of a circle


def test_no_text_carries_an_address_of_a_package_index_or_a_path_of_a_machine() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    pattern = re.compile(r"--(extra-)?index-url \S|find-links http|/work/(main|shared)|/tmp/wt/")
    for name in tracked:
        if (
            name.endswith((".py", ".md", ".toml", ".txt", ".sh", ".json", "Makefile", "Dockerfile"))
            and name != "tests/test_house.py"
        ):
            assert not pattern.search((ROOT / name).read_text()), name


def test_nobody_is_sent_to_a_package_index_for_edgenas() -> None:
    """It is on none, and its name there may be anybody's: every line installs from a clone."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    pattern = re.compile(r"edgenas\[[a-z]|pip install (--?[\w-]+ )*['\"`]?edgenas(?![\w./-])")
    assert pattern.search("`pip install --no-deps edgenas` beside")
    texts = (".py", ".md", ".ipynb", ".sh", ".yaml", ".toml", "Makefile", "Dockerfile")
    own = {"tests/test_house.py", "pyproject.toml"}  # the latter: the extra `dev` names others of the same project
    assert [n for n in listed if n.endswith(texts) and n not in own and pattern.search((ROOT / n).read_text())] == []


def test_the_command_line_of_a_device_needs_nothing_that_a_device_does_not_get() -> None:
    """What is imported before a command is chosen, and to serve, is in the list that a device's image installs."""
    text = (ROOT / "deploy" / "requirements-device.txt").read_text()
    given = {name.lower().replace("-", "_") for name in re.findall(r"^([A-Za-z0-9_.-]+)==", text, re.MULTILINE)}
    given |= {"pil", "google", "prometheus_client", "_distutils_hack"}  # pillow, protobuf as they are imported
    code = (
        "import sys, edgenas.cli.main, edgenas.serve.server, edgenas.serve.app, edgenas.remote.agent\n"
        "import edgenas.runtimes.onnx_session\n"
        "from importlib.metadata import packages_distributions\n"
        "foreign = {name.split('.')[0] for name in sys.modules} & set(packages_distributions())\n"
        "print(*sorted(foreign))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert {name.lower() for name in done.stdout.split()} - given - {"edgenas"} == set()


def test_a_laptop_gets_nothing_of_cuda_and_a_gpu_host_asks_for_it() -> None:
    """What the extras `cpu` and `cuda` ask for by name; torch is taken from PyTorch's index of CPU builds before."""
    project = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {Requirement(line).name for line in project["dependencies"]}
    assert not [name for name in names if "gpu" in name or "cuda" in name or name.startswith("onnxruntime")]
    extras = {
        extra: [Requirement(line).name for line in lines] for extra, lines in project["optional-dependencies"].items()
    }
    assert (extras["cpu"], extras["cuda"]) == (["onnxruntime"], ["onnxruntime-gpu"])


def test_windows_is_named_with_the_way_out() -> None:
    code = "import sys; sys.platform = 'win32'; import edgenas"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (
        "ImportError: EdgeNAS runs on Linux, and on Macs with Apple silicon: on Windows use it in WSL 2" in done.stderr
    )


def test_the_citation_names_the_published_methods() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert [one["notes"] for one in citation["references"]] == ["GNAS", "TRG-NAS", "NSE", "NAL"]
    license_text = tomli.loads((ROOT / "pyproject.toml").read_text())["project"]["license"]
    assert citation["license"] == license_text
