"""Packages of somebody else's with entry points, as pip leaves them, in a folder of the test's."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def install(folder: Path, package: str, module: str, code: str, entry_points: dict[str, dict[str, str]]) -> Path:
    """`folder`, which goes on the path, with module.py and PACKAGE-1.0.dist-info; `entry_points`: group -> name -> value."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(code)
    about = folder / f"{package.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    lines = [
        line
        for group, points in entry_points.items()
        for line in (f"[{group}]", *(f"{name} = {value}" for name, value in points.items()))
    ]
    (about / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def wheel(source: Path, folder: Path) -> Path:
    """The wheel of the package in `source` (its pyproject.toml and modules), as a build backend would write it into `folder`."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    name, version = project["name"].replace("-", "_"), project["version"]
    points = "".join(
        f"[{group}]\n" + "".join(f"{point} = {value}\n" for point, value in named.items())
        for group, named in project["entry-points"].items()
    )
    about = f"{name}-{version}.dist-info"
    files = {module.name: module.read_text() for module in sorted(source.glob("*.py"))}
    files |= {
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {version}\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/entry_points.txt": points,
    }
    files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{about}/RECORD"])
    made = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(made, "w") as archive:
        for file, text in files.items():
            archive.writestr(file, text)
    return made


def pip_install(wheels: list[Path], site: Path) -> Path:
    """`site`, with these wheels installed by pip and nothing else."""
    options = ["--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", "--target", str(site)]
    command = [sys.executable, "-m", "pip", "install", *options, *map(str, wheels)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return site
