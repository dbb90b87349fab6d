import os
import subprocess
import sys

from edgenas.cli.about import EXTRAS, installed
from edgenas.version import __version__
from tests.cli.edgenas import ENVIRONMENT


def test_the_version_names_what_is_installed_and_every_extra() -> None:
    lines = installed().splitlines()
    assert lines[0] == f"edgenas {__version__}"
    assert any(line.startswith("torch ") for line in lines)
    assert [line.split("]")[0][1:] for line in lines if line.startswith("[")] == list(EXTRAS)


def test_a_shell_completes_commands_and_options() -> None:
    code = "import sys; sys.argv = ['edgenas']; from edgenas.cli.main import main; main()"

    def completed(words: str, at: int) -> list[str]:
        asked = {"_EDGENAS_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(at)}
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **ENVIRONMENT, **asked},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.stdout.split()

    assert completed("edgenas rep", 1) == ["report", "replay"]
    assert "--max-latency-ms" in completed("edgenas search --max", 2)
