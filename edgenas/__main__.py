"""`python -m edgenas` is `edgenas`."""

from edgenas.cli.main import main

main()
