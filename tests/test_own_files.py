"""The files under ``res/.pyptv``, damaged at random or forged: the run's own result, or one clear error. Never a wrong number."""

from __future__ import annotations

import json
import random
import zlib
from pathlib import Path

import pytest
from conftest import results

from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.folder import load_experiment
from pyptv.core.files.store import Store
from pyptv.core.history.journal import Journal, read_entry
from pyptv.pyptv_batch import main

FIRST, LAST = 10_000, 10_039
ROUNDS = 150


@pytest.fixture(scope="module")
def done(small_experiment_once):
    """An experiment that was processed and tracked, its results, and its own files."""
    folder = small_experiment_once
    main(folder, engine="optv")
    return folder, results(folder)


@pytest.fixture(scope="module")
def small_experiment_once(tmp_path_factory):
    from pyptv.synthetic import make_experiment

    folder = tmp_path_factory.mktemp("own") / "experiment"
    make_experiment(folder, n_frames=LAST - FIRST + 1, n_particles=40, image_size=(320, 256), dropout=0.2, first_frame=FIRST)
    (folder / "parameters_synthetic.yaml").unlink()
    return folder


def damaged(data: bytes, chance: random.Random) -> bytes:
    """Cut, lengthened, or with other bytes somewhere."""
    kind = chance.choice(["cut", "bytes", "insert", "twice", "zeros"])
    place = chance.randrange(len(data))
    if kind == "cut":
        return data[:place]
    if kind == "bytes":
        changed = bytearray(data)
        for _ in range(chance.randint(1, 8)):
            changed[chance.randrange(len(data))] = chance.randrange(256)
        return bytes(changed)
    if kind == "insert":
        return data[:place] + chance.randbytes(chance.randint(1, 40)) + data[place:]
    return data + data if kind == "twice" else data[:place] + bytes(100) + data[place + 100 :]


def test_pristine_copies(done):
    folder, _ = done
    store = Store(load_experiment(folder))
    copies = sorted((folder / "res" / ".pyptv" / "pristine").iterdir())
    assert copies
    chance = random.Random(1)
    messages = []
    for _ in range(ROUNDS):
        path = chance.choice(copies)
        whole = path.read_bytes()
        right = store.sequence_input(int(path.name))
        path.write_bytes(damaged(whole, chance))
        try:
            assert store.sequence_input(int(path.name)) == right
        except ProcessingError as error:
            messages.append(str(error))
        finally:
            path.write_bytes(whole)
    assert len(messages) > ROUNDS / 2
    assert all("pristine" in message and "run the sequence step again" in message for message in messages)


FORGED = {
    "deep": b"[" * 100_000 + b"\n",
    "long line": b'{"sizes": {"rt_is": 1}, "digest": "' + b"a" * 100_000 + b'"}\n',
    "bomb": b'{"sizes": {"rt_is": 9}, "tracked": {"rt_is": []}, "digest": "x"}\n' + zlib.compress(bytes(50_000_000), 9),
    "huge": b'{"sizes": {"rt_is": 999999999999}, "tracked": {"rt_is": []}, "digest": "x"}\n' + zlib.compress(b"a"),
    "types": b'{"sizes": {"rt_is": "9"}, "tracked": 3, "digest": []}\n',
    "infinity": b'{"sizes": {"rt_is": 1e999}, "tracked": {"rt_is": []}, "digest": "x"}\n',
    "other names": b'{"sizes": {"rt_is": 1}, "tracked": {"targets1": []}, "digest": "x"}\n' + zlib.compress(b"a"),
}


@pytest.mark.parametrize("forged", FORGED)
def test_forged_pristine_copies(done, forged):
    folder, _ = done
    store = Store(load_experiment(folder))
    path = min((folder / "res" / ".pyptv" / "pristine").iterdir())
    whole = path.read_bytes()
    path.write_bytes(FORGED[forged])
    try:
        with pytest.raises(ProcessingError, match=r"from before tracking is damaged \("):
            store.sequence_input(int(path.name))
    finally:
        path.write_bytes(whole)


def test_journals(done):
    """Whatever a line says after the damage, its checksum vouches for it, or it is not there."""
    folder, _ = done
    home = folder / "res" / ".pyptv" / "journal"
    entries = [json.loads(line[9:]) for path in home.glob("*inputs*") for line in path.read_text().splitlines()]
    inputs = {entry["stage"]: entry["id"] for entry in entries}
    (path,) = [path for path in home.iterdir() if "inputs" not in path.name]
    whole = path.read_bytes()
    lines = {line[9:] for line in whole.splitlines()}
    chance = random.Random(2)
    try:
        for _ in range(ROUNDS):
            path.write_bytes(damaged(whole, chance))
            journal = Journal(home, (FIRST, LAST), inputs)
            for frame in range(FIRST, LAST + 1):
                for entry in journal.past(frame) or ():
                    read = read_entry(home, entry) if entry else None
                    assert read is None or json.dumps(read, separators=(",", ":")).encode() in lines
    finally:
        path.write_bytes(whole)


@pytest.mark.parametrize("engine", ["optv", "compiled"])
def test_a_run_resumes_from_damaged_files_to_the_same_bytes(done, engine):
    if engine == "compiled":
        pytest.importorskip("numba")
    folder, right = done
    main(folder, engine=engine)
    chance = random.Random(3)
    for _ in range(4):
        for name in ("journal", "states"):
            for path in Path(folder / "res" / ".pyptv" / name).glob("*"):
                path.write_bytes(damaged(path.read_bytes(), chance))
        (folder / "res" / f"ptv_is.{FIRST + 20}").unlink()
        main(folder, engine=engine, resume=True)
        assert results(folder) == right
