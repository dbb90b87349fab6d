"""Packages of somebody else's with entry points, as pip leaves them, in a folder of the test's."""

from __future__ import annotations

from pathlib import Path


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
