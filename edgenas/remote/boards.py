"""What measures a search's candidates: boards by their addresses, this machine, or nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.candidates import BUILT, KIND, baseline, measuring_here
from edgenas.hardware.cost import Measure
from edgenas.hardware.measure import SEARCH, Say, Timing, latency_from_measurement, no_one
from edgenas.hardware.profile import HOST_CPU
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Precision
from edgenas.remote.client import DEFAULT_PORT, Board, HttpBoard, address_of
from edgenas.remote.fleet import BESIDE, Boards
from edgenas.remote.sparing import Finalists, Sparing, is_sparing
from edgenas.remote.ssh import SshBoard
from edgenas.remote.token import read_token
from edgenas.store import Store

PATIENCE_S = 60.0


def open_board(url: str, token_file: Path | None = None, ca: Path | None = None, say: Say = no_one) -> Board:
    """The board at https://..., http://... or ssh://...; nothing is contacted yet."""
    return open_boards([url], token_file, ca, say)[0]


def open_boards(urls: Sequence[str], token_file: Path | None, ca: Path | None, say: Say) -> list[Board]:
    """All of them; `ca` is the file of CAs for those at https://..., of which there is one at least where it is given, as
    there is an agent for a token. No two at the same place: one board would be taken for several."""
    if ca is not None and not any(url.startswith("https://") for url in urls):
        raise EdgenasError("--ca was given, and no board has a certificate to check: ask for https://HOST:PORT")
    if token_file is not None and urls and all(url.startswith("ssh://") for url in urls):
        raise EdgenasError("--token-file was given, and ssh:// has keys of its own: leave it out")
    opened = [_opened(url, token_file, ca, say) for url in urls]
    known: dict[tuple[bool, str, int | None], str] = {}
    for url in urls:
        parts, host, port = address_of(url)
        agent = parts.scheme != "ssh"
        place = (agent, host.lower(), (port or DEFAULT_PORT) if agent else port)
        if place in known:
            raise EdgenasError(f"board {url!r} is the same as {known[place]!r}: name each board once")
        known[place] = url
    return opened


def _opened(url: str, token_file: Path | None, ca: Path | None, say: Say) -> Board:
    if url.startswith(("http://", "https://")):
        return HttpBoard(url, read_token(token_file), ca, say)
    if url.startswith("ssh://"):
        return SshBoard(url)
    raise EdgenasError(
        f"board {url!r}: possible are https://HOST:PORT, http://HOST:PORT (edgenas agent) and ssh://[USER@]HOST[:PORT][/PATH/TO/EDGENAS]"
    )


@contextmanager
def measuring(
    urls: Sequence[str],
    token_file: Path | None,
    profiles: Sequence[HardwareProfile],
    precision: Precision | None,
    store: Store,
    say: Say = no_one,
    *,
    finalists: Finalists,
    timing: Timing = SEARCH,
    patience_s: float = PATIENCE_S,
    ca: Path | None = None,
) -> Iterator[tuple[Measure | None, str | None]]:
    """The `measure` and `measured` of a search's CostModel: on boards where some are given, on this machine for the target
    host-cpu, (None, None) where everything is predicted. `finalists`: what boards measure at the end of a search that has gone
    by predictions, too."""
    here = [profile for profile in profiles if profile.name == HOST_CPU]
    if not urls:
        refuse_without_board(token_file, ca)
        hook = measuring_here(store, here[0], precision, timing=timing, say=say) if here else None
        yield hook, here[0].name if here else None
        return
    boards = _greeted(urls, token_file, profiles, precision, store, say, timing, patience_s, ca)
    asking = Sparing(boards, finalists) if is_sparing(store, profiles[0]) else boards
    with _ended_by_errors(boards):
        yield asking, profiles[0].name
    asking.close()


@contextmanager
def measuring_beside(
    urls: Sequence[str],
    token_file: Path | None,
    profiles: Sequence[HardwareProfile],
    precision: Precision | None,
    store: Store,
    say: Say = no_one,
    *,
    timing: Timing = SEARCH,
    patience_s: float = PATIENCE_S,
    ca: Path | None = None,
) -> Iterator[tuple[Measure, str]]:
    """The same for networks that a search's candidates are compared with: every one is measured on these boards, and no search
    ever reads it."""
    boards = _greeted(urls, token_file, profiles, precision, store, say, timing, patience_s, ca)
    with _ended_by_errors(boards):
        yield boards.beside, profiles[0].name
    boards.close()


@contextmanager
def _ended_by_errors(boards: Boards) -> Iterator[None]:
    """What ends by an error or Ctrl-C waits for no board."""
    try:
        yield
    except BaseException:
        boards.end()
        raise


def _greeted(
    urls: Sequence[str],
    token_file: Path | None,
    profiles: Sequence[HardwareProfile],
    precision: Precision | None,
    store: Store,
    say: Say,
    timing: Timing,
    patience_s: float,
    ca: Path | None,
) -> Boards:
    _refuse_several(profiles)
    at = precision_of_candidates(profiles[0], precision, store)
    boards = Boards(open_boards(urls, token_file, ca, say), profiles[0], at, store, timing, patience_s, say)
    boards.greet()
    return boards


def remembered(
    store: Store, profile: HardwareProfile, asked: Precision | None, architecture: Architecture
) -> Latency | None:
    """The latency of a network that a board has measured for this study before; None where none has."""
    key = f"{architecture.fingerprint} {profile.name} {_precision_measured(profile, asked, store)}"
    measurement = store.get(KIND, key, Measurement) or store.get(BESIDE, key, Measurement)
    if measurement is None:
        return None
    return latency_from_measurement(measurement, baseline(store, profile.name, _no_baseline))


def _no_baseline(_model: bytes) -> Measurement:
    raise StudyError("this study has lost the measurement of its reference network: give its --board URL")


def refuse_unmeasurable(
    urls: Sequence[str], token_file: Path | None, profiles: Sequence[HardwareProfile], ca: Path | None = None
) -> None:
    """Raise EdgenasError for what can be known before any board is asked, and before there is a study: an address or a token
    that is none, several targets."""
    if not urls:
        refuse_without_board(token_file, ca)
    if urls:
        _refuse_several(profiles)
        open_boards(urls, token_file, ca, no_one)


def refuse_without_board(token_file: Path | None, ca: Path | None, *, here: bool = False) -> None:
    """Raise EdgenasError for what only boards ask for, where none is named; `here`: where this machine is."""
    agents = (
        ("--ca", ca, "https://HOST:PORT", "certificate to check"),
        ("--token-file", token_file, "URL", "agent to let us in"),
    )
    for flag, value, board, lacks in agents:
        if value is not None:
            why = f", and {HOST_CPU} has no {lacks}" if here else f" without --board {board}"
            raise EdgenasError(f"{flag} was given{why}: leave it out")


def refuse_precision(precision: Precision) -> None:
    """Raise EdgenasError for what an untrained candidate cannot be written in."""
    if precision not in BUILT:
        raise EdgenasError(
            f"boards measure candidates as {' or '.join(BUILT)}, not {precision} (its scales are made from images): choose "
            f"--precision {BUILT[-1]}, or leave --board out and measure the exported file (`edgenas verify --bundle`)"
        )


def _refuse_several(profiles: Sequence[HardwareProfile]) -> None:
    if len(profiles) > 1:
        names = ", ".join(profile.name for profile in profiles)
        raise EdgenasError(f"--board measures one target, and there are {names}: search for one at a time")


def precision_of_candidates(profile: HardwareProfile, asked: Precision | None, store: Store) -> Precision:
    """What boards measure candidates in: the search's own precision. A search that an earlier version began in fp32 stays there.

    Raises EdgenasError for what an untrained candidate cannot be written in.
    """
    precision = _precision_measured(profile, asked, store)
    refuse_precision(precision)
    return precision


def _precision_measured(profile: HardwareProfile, asked: Precision | None, store: Store) -> Precision:
    begun = {key.rpartition(" ")[2] for key in store.all(KIND, Measurement) if f" {profile.name} " in key}
    return "fp32" if begun == {"fp32"} else asked or profile.precision
