"""The page on the Jetson says what the images are made of, where no Docker makes them."""

import tomli

from tests.docs.blocks import ROOT, blocks

PAGE = ROOT / "docs/jetson.md"
WITHOUT_DOCKER = next(block.text for block in blocks(PAGE) if "python3 -m venv" in block.text)


def test_what_is_installed_without_docker_is_what_the_image_has() -> None:
    family = tomli.loads((ROOT / "deploy/matrix.toml").read_text(encoding="utf-8"))["jp6"]
    lines = WITHOUT_DOCKER.splitlines()
    assert f"sudo apt install {family['apt_packages']}" in lines
    assert [line.removeprefix("pip install -r ") for line in lines if " -r " in line] == family["requirements"].split()
    assert f"python3 -m venv {family['venv_options']} " in WITHOUT_DOCKER


def test_the_bundle_is_served_from_where_it_was_copied_to() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "rsync -a --delete bundle/ board:edgenas/deploy/bundle/\n" in text
    assert "edgenas serve deploy/bundle --runtime tensorrt" in WITHOUT_DOCKER
    assert "./bundle:/bundle:ro" in (ROOT / "deploy/compose.jp6.yaml").read_text(encoding="utf-8")
