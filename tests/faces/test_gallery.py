import sqlite3
import threading
from pathlib import Path

import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.gallery import Gallery, contract
from edgenas.faces.search import Vectors
from edgenas.faces.vault import Vault, vault_from_file
from edgenas.faces.verification import normalised

DIM = 64
MODEL = contract("a" * 64, "five-point 112", "(x - 127.5) / 127.5")
OTHER = contract("b" * 64, "five-point 112", "(x - 127.5) / 127.5")


def embeddings(count: int, seed: int = 0) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=(count, DIM)))


def files_of(path: Path) -> bytes:
    """Everything that SQLite keeps beside and in the database file."""
    return b"".join(file.read_bytes() for file in sorted(path.parent.glob(path.name + "*")))


def test_people_are_found_again_after_reopening(tmp_path: Path) -> None:
    known = embeddings(20)
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:
        for person, vector in enumerate(known):
            gallery.enroll(f"Person {person}", vector)
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:
        assert [person.samples for person in gallery.people()] == [1] * 20
        (match,) = gallery.identify(known[7] + 0.05 * embeddings(1, 9)[0], threshold=0.5)
        assert match.name == "Person 7"


def test_nobody_known_is_an_ordinary_answer(tmp_path: Path) -> None:
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:
        assert gallery.identify(embeddings(1)[0], threshold=0.0) == ()
        gallery.enroll("Ada", embeddings(1)[0])
        assert gallery.identify(-embeddings(1)[0], threshold=0.3) == ()


@pytest.mark.parametrize(("threshold", "known"), [(0.6, True), (0.61, False)])
def test_a_face_is_known_from_the_threshold_on(tmp_path: Path, threshold: float, known: bool) -> None:
    with Gallery(tmp_path / "g.db", "c", 16) as gallery:
        axis, probe = np.zeros(16, np.float32), np.zeros(16, np.float32)
        axis[0] = 1.0
        probe[:2] = 0.6, 0.8  # cosine 0.6 to the only sample
        gallery.enroll("Ada", axis)
        assert bool(gallery.identify(probe, threshold=threshold - 1e-6)) is known


def test_a_person_scores_by_the_best_of_their_samples(tmp_path: Path) -> None:
    first, second, probe = embeddings(3)
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:
        gallery.enroll("Ada", np.stack([first, second]))
        gallery.enroll("Bob", embeddings(1, 5))
        matches = gallery.identify(probe, threshold=-1.0, top=2)
        scores = {match.name: match.score for match in matches}
        assert scores["Ada"] == pytest.approx(max(first @ probe, second @ probe), abs=1e-6)
        assert len(matches) == 2


def test_deleting_a_person_removes_the_bytes_from_the_disk(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    known = embeddings(60)
    with Gallery(path, MODEL, DIM) as gallery:
        for person in range(20):
            gallery.enroll(f"Person number {person}", known[3 * person : 3 * person + 3])
        assert known[21].tobytes() in files_of(path)
        assert gallery.delete("Person number 7")
        on_disk = files_of(path)
        assert not any(vector.tobytes() in on_disk for vector in known[21:24])
        assert b"Person number 7" not in on_disk
        assert known[24].tobytes() in on_disk
        assert gallery.identify(known[21], threshold=0.99) == ()
        assert not gallery.delete("Person number 7")
    with Gallery(path, MODEL, DIM) as gallery:
        assert len(gallery.people()) == 19
        assert gallery.identify(known[24], threshold=0.99)[0].name == "Person number 8"


def test_a_person_is_forgotten_at_once_where_the_file_cannot_be_rebuilt_and_the_next_deletion_does_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, known = tmp_path / "door.db", embeddings(2)
    with Gallery(path, MODEL, DIM) as gallery:
        gallery.enroll("Ada", known[0])
        gallery.enroll("Bob", known[1])
        rebuilt: list[str] = []

        def full(_: object) -> None:
            rebuilt.append("")
            if len(rebuilt) == 1:
                raise OSError(28, "No space left on device")

        monkeypatch.setattr("edgenas.faces.gallery.compact", full)
        with pytest.raises(OSError, match="No space"):
            gallery.delete("Ada")
        assert gallery.identify(known[0], threshold=0.99) == ()
        assert [person.name for person in gallery.people()] == ["Bob"]
        assert not gallery.delete("Ada")
        assert len(rebuilt) == 2
        assert not gallery.delete("Ada")
        assert len(rebuilt) == 2
        assert gallery.enroll("Ada", known[0]).samples == 1


@pytest.mark.parametrize(("off", "samples"), [(0.0, 1), (0.9e-6, 1), (1e-5, 2)])
def test_a_sample_that_a_person_has_is_not_added_again(tmp_path: Path, off: float, samples: int) -> None:
    """As one that enrols does who got no answer; also where the same network computes with other threads now."""
    (known, other), path = embeddings(2), tmp_path / "door.db"
    again = known.copy()
    again[np.abs(known).argmin()] += off  # where it changes the length least
    with Gallery(path, MODEL, DIM) as gallery:
        assert gallery.enroll("Ada", known).samples == 1
        gallery.enroll("Bob", other)
        assert gallery.enroll("Bob", known).samples == 2  # it was somebody else's
        assert gallery.enroll("Ada", again).samples == samples
    with Gallery(path, MODEL, DIM) as gallery:
        assert gallery.enroll(" Ada ", again).samples == samples
        assert gallery.enroll("Ada", np.stack([known, other])).samples == samples + 1  # of the two, the new one
        assert gallery.delete("Ada")
        assert gallery.enroll("Ada", known).samples == 1
    with Gallery(path, MODEL, DIM) as gallery:
        assert [(person.name, person.samples) for person in gallery.people()] == [("Ada", 1), ("Bob", 2)]


def test_a_gallery_of_another_model_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    with Gallery(path, MODEL, DIM) as gallery:
        gallery.enroll("Ada", embeddings(1))
    before = path.read_bytes()
    with pytest.raises(DataError, match="belongs to another model"):
        Gallery(path, OTHER, DIM)
    assert path.read_bytes() == before


def test_two_servers_do_not_share_a_gallery(tmp_path: Path) -> None:
    with (
        Gallery(tmp_path / "door.db", MODEL, DIM),
        pytest.raises(DataError, match="is another server using it"),
    ):
        Gallery(tmp_path / "door.db", MODEL, DIM)


def test_a_file_that_is_no_gallery_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    path.write_bytes(b"hello, this is text" * 100)
    with pytest.raises(DataError, match="is not a gallery"):
        Gallery(path, MODEL, DIM)
    path.write_bytes(b"SQLite format 3\0" + b"\x01" * 4000)
    with pytest.raises(DataError, match=r"door\.db is another program.s SQLite file \(or a damaged one\)"):
        Gallery(path, MODEL, DIM)


def test_a_folder_and_a_file_in_no_folder_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"cannot be read \(Is a directory\): name a file that this user may read"
    ) as one:
        Gallery(tmp_path, MODEL, DIM)
    with pytest.raises(DataError, match=r"cannot be opened .*: name a file in a folder that exists") as other:
        Gallery(tmp_path / "nowhere" / "door.db", MODEL, DIM)
    assert "\n" not in str(one.value) + str(other.value)


def test_an_encrypted_gallery_shows_neither_faces_nor_names(tmp_path: Path) -> None:
    path, key = tmp_path / "door.db", bytes(range(32))
    (vector,) = embeddings(1)
    with Gallery(path, MODEL, DIM, Vault(key)) as gallery:
        gallery.enroll("Ada Lovelace", vector)
        on_disk = files_of(path)
    assert vector.tobytes() not in on_disk
    assert b"Lovelace" not in on_disk
    with Gallery(path, MODEL, DIM, Vault(key)) as gallery:
        assert gallery.identify(vector, threshold=0.9)[0].name == "Ada Lovelace"
    with pytest.raises(DataError, match="does not open this gallery"):
        Gallery(path, MODEL, DIM, Vault(bytes(32)))
    with pytest.raises(DataError, match="is encrypted"):
        Gallery(path, MODEL, DIM)


def test_an_encrypted_sample_moved_to_another_person_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "door.db"
    with Gallery(path, MODEL, DIM, Vault(bytes(32))) as gallery:
        gallery.enroll("Ada", embeddings(1, 1))
        gallery.enroll("Eve", embeddings(1, 2))
    database = sqlite3.connect(path)
    database.execute("UPDATE samples SET person = 3 - person")
    database.commit()
    database.close()
    with pytest.raises(DataError, match="does not open this gallery"):
        Gallery(path, MODEL, DIM, Vault(bytes(32)))


def test_a_key_file_must_be_private_and_hexadecimal(tmp_path: Path) -> None:
    key = tmp_path / "gallery.key"
    key.write_text("ab" * 32)
    for mode in (0o644, 0o640, 0o620, 0o610, 0o604, 0o602, 0o601):
        key.chmod(mode)
        with pytest.raises(DataError, match="can be read by others"):
            vault_from_file(key)
    key.chmod(0o600)
    vault = vault_from_file(key)
    assert vault.open(vault.seal(b"face", b"1"), b"1") == b"face"
    key.write_text("not a key")
    with pytest.raises(DataError, match="not 64 hexadecimal digits"):
        vault_from_file(key)


def test_a_key_file_of_another_user_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = tmp_path / "gallery.key"
    key.touch(0o600)

    def refuse(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refuse)  # root, who runs tests in containers, may read everything
    with pytest.raises(DataError, match=r"gallery\.key cannot be read \(Permission denied\): give it to the user"):
        vault_from_file(key)


@pytest.mark.parametrize("vector", [np.zeros(DIM), np.full(DIM, np.nan), np.ones(DIM - 1)])
def test_embeddings_that_mean_nothing_are_not_enrolled(tmp_path: Path, vector: np.ndarray) -> None:
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:
        with pytest.raises(DataError, match=r"enrolment needs non-zero|1 of 1 embeddings are not finite"):
            gallery.enroll("Ada", vector)
        assert gallery.people() == ()


def test_threads_may_enroll_identify_and_delete_at_once(tmp_path: Path) -> None:
    known = embeddings(40)
    with Gallery(tmp_path / "door.db", MODEL, DIM) as gallery:

        def work(part: int) -> None:
            for person in range(part, 40, 4):
                gallery.enroll(f"Person {person}", known[person])
                assert gallery.identify(known[person], threshold=0.9)[0].name == f"Person {person}"
                if person % 8 == 0:
                    gallery.delete(f"Person {person}")

        threads = [threading.Thread(target=work, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(gallery.people()) == 35


def test_the_approximate_index_finds_whom_the_exact_search_finds() -> None:
    known = embeddings(3000)
    exact, approximate = Vectors(DIM), Vectors(DIM, exact_limit=500)
    for vectors in (exact, approximate):
        for person in range(1000):
            vectors.add(person, known[3 * person : 3 * person + 3])
    probes = normalised(known[::30] + 0.3 * embeddings(100, 1))
    agree = [approximate.best(probe, 1)[0] == pytest.approx(exact.best(probe, 1)[0]) for probe in probes]
    assert sum(agree) >= 99
    exact.remove(10)
    approximate.remove(10)
    approximate.add(2000, known[30:31])
    assert approximate.best(known[30], 1)[0] == (2000, pytest.approx(1.0, abs=1e-5))
    assert exact.best(known[30], 1)[0][0] != 10
