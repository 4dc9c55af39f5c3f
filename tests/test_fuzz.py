"""Every parser of files, fed with damaged files: a clean result or one clear error, in bounded time. Many more by hand.

``python tests/test_fuzz.py N [PARSER ...]`` tries N files for each parser; docs/reliability.md has the figures.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from conftest import sample_tree

from pyptv.core.base.bounded_json import BoundError, inflate, parse_json
from pyptv.core.base.errors import ProcessingError
from pyptv.core.experiment.calibration import read_calibration
from pyptv.core.experiment.parameters.checks import build_parameters
from pyptv.core.experiment.parameters.dialects import read_par, read_yaml
from pyptv.core.files.formats import ADDED, LINKS, PARTICLES, TARGETS
from pyptv.synthetic.truth import read_truth
from pyptv.synthetic.writer import YAML_NAME, write_par, write_yaml

CASES = 300
NASTY = (
    *(
        b"nan",
        b"inf",
        b"-inf",
        b"1e999",
        b"-1",
        b"0",
        b"1e-320",
        b"0x10",
        b"1_0",
        b"9" * 400,
        b"1:1:1",
        b"%s%n",
        b"..",
        b"\0",
        b"\xff",
    ),
    *(
        b"\xef\xbb\xbf",
        b"\r\n",
        b"\n\n",
        b"\t",
        b" ",
        b"[" * 60,
        b"{" * 60,
        b"&a ",
        b"*a",
        b"<<: ",
        b"!!python/object:os.system ",
        b"---\n",
    ),
    *(
        b"'",
        b'"',
        b"- ",
        b": ",
        b"# ",
        b"|\n",
        b"\xd9\xa3",
        "١".encode(),
        b"true",
        b"null",
        b"~",
        b"1.5",
        b"2147483648",
        b"-2147483649",
    ),
)


def damaged(rng: random.Random, data: bytes) -> bytes:
    """A file after some accidents."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        data = _accident(rng, data)[:50_000]
    return data


def _accident(rng: random.Random, data: bytes) -> bytes:
    """Bytes changed, lost, doubled, replaced by nasty ones, lines in another order, the end cut off."""
    place, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
    short = min(end, place + rng.randrange(1, 30))
    lines = data.split(b"\n")
    accidents = (
        lambda: data[:place] + data[short:],
        lambda: data[:place],
        lambda: data[:place] + rng.choice(NASTY) + data[short:],
        lambda: data[:place] + rng.choice(NASTY) + data[place:],
        lambda: data[:place] + rng.randbytes(short - place) + data[short:],
        lambda: data[:end] + data[place:end] * rng.choice((1, 3)) + data[end:],
        lambda: b" ".join(rng.choice(NASTY) if rng.random() < 0.05 else word for word in data.split(b" ")),
        lambda: b"\n".join(rng.sample(lines, len(lines))),
        lambda: b"\n".join(line for line in lines if rng.random() < 0.9),
    )
    return rng.choice(accidents)()


class Parser:
    """Something that reads a file, with a whole one to damage."""

    def __init__(self, files: dict[str, bytes], read: Callable[[Path], object]) -> None:
        self.files = files
        self.read = read

    def try_one(self, rng: random.Random, folder: Path) -> bool:
        """Damage one of the files and read them; whether they were taken. Any error but a clear one comes out."""
        hit = rng.choice(list(self.files))
        for name, data in self.files.items():
            (folder / name).write_bytes(damaged(rng, data) if name == hit else data)
        said = None
        try:
            self.read(folder)
        except (ProcessingError, BoundError) as error:
            said = str(error)
        assert said is None or 0 < len(said) < 5000, said[:300]
        return said is None


def _from(make: Callable[[Path], object], names: str) -> dict[str, bytes]:
    with TemporaryDirectory() as folder:
        make(Path(folder))
        return {path.name: path.read_bytes() for path in Path(folder).rglob(names) if path.is_file()}


def _parameters(raw: object) -> None:
    build_parameters(raw.tree, raw.locate)  # type: ignore[attr-defined]


def parsers() -> dict[str, Parser]:
    """Name -> parser."""
    rows = {
        "targets": (TARGETS, [(n, 10.5 + n, 20.25 * n, 9, 3, 3, 200, n - 1) for n in range(8)]),
        "rt_is": (PARTICLES, [(n + 1, 1.5 * n, -2.0, float("nan") if n == 3 else 7.0, n, -1, n, 0) for n in range(8)]),
        "ptv_is": (LINKS, [(n - 1, n if n % 2 else -2, 1.0, 2.0, -3.0) for n in range(8)]),
        "added": (ADDED, [(n - 1, -2, 1.0, 2.0, -3.0, 4) for n in range(8)]),
    }
    tables = {
        name: Parser({name: table.render(values)}, lambda folder, name=name, table=table: table.read(folder / name))
        for name, (table, values) in rows.items()
    }
    ori = b"85.0 15.0 -570.0\n 0.1 0.2 0.3\n\n 1 0 0\n 0 1 0\n 0 0 1\n\n 0.01 0.02\n 70.0\n\n 0.0 0.0 -125.0\n"
    truth = "frame,id,x,y,z,x1,y1\n" + "".join(
        f"{frame},{n},{n * 1.5},{-n},0.25,100.5,{n}\n" for frame in (1, 2) for n in range(6)
    )
    entry = b'{"kind":"frame","frame":10003,"targets":[120,118],"images":[[1,2]],"digest":"ab12","none":null,"x":-1.5e3}'
    return tables | {
        "par": Parser(_from(lambda to: write_par(to, sample_tree()), "*.par"), lambda folder: _parameters(read_par(folder))),
        "yaml": Parser(
            _from(lambda to: write_yaml(to, sample_tree()), "*.yaml"), lambda folder: _parameters(read_yaml(folder / YAML_NAME))
        ),
        "calibration": Parser(
            {"c.ori": ori, "c.addpar": b"0.0 0.0 0.0 0.0 0.0 1.0 0.0"},
            lambda folder: read_calibration(folder / "c.ori", folder / "c.addpar"),
        ),
        "truth": Parser({"truth.csv": truth.encode()}, lambda folder: read_truth(folder / "truth.csv")),
        "json": Parser({"entry": entry}, lambda folder: parse_json((folder / "entry").read_bytes(), 10**6)),
        "zlib": Parser(
            {"packed": zlib.compress(b"0123456789" * 50)}, lambda folder: inflate((folder / "packed").read_bytes(), 10**6)
        ),
    }


@pytest.mark.parametrize("name", parsers())
def test_damaged_files(name: str, tmp_path: Path) -> None:
    rng = random.Random(name)
    parser = parsers()[name]
    parser.read(_written(parser, tmp_path))
    taken = sum(parser.try_one(rng, tmp_path) for _ in range(CASES))
    assert taken < CASES


def _written(parser: Parser, folder: Path) -> Path:
    for name, data in parser.files.items():
        (folder / name).write_bytes(data)
    return folder


if __name__ == "__main__":
    for kind, reader in [(kind, reader) for kind, reader in parsers().items() if kind in (sys.argv[2:] or [kind])]:
        with TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as place:
            source, slowest, good = random.Random(f"{kind} by hand"), 0.0, 0
            for _ in range(int(sys.argv[1])):
                start = time.process_time()
                good += reader.try_one(source, Path(place))
                slowest = max(slowest, time.process_time() - start)
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{kind:12} {sys.argv[1]} files, {good} taken, slowest {1000 * slowest:.0f} ms, peak {peak:.0f} MB", flush=True)
