"""What an install takes on disk, by package: builds the wheel, installs it into a fresh environment, and weighs that.

    python -m benchmarks.install              # pip install conrec
    python -m benchmarks.install serve train  # pip install 'conrec[serve,train]'
    python -m benchmarks.install --films DIR  # and fits MovieTweetings' ratings there, up to a filtered list

An environment's own pip and setuptools do not count. Python's bytecode is counted apart: it is written when a module is
first imported, or by pip, unless that is told `--no-compile`. Then `conrec.fit`, `filter`, `save`, and `load` are run
in the fresh environment. Without an extra, exit status 1 over `LIMIT`. Needs pip and the package index.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from importlib.metadata import PathDistribution, distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 650
"""MB without extras and without bytecode (10^6 bytes)."""
OWN = ("pip", "setuptools")
PIP = ("-m", "pip", "--disable-pip-version-check", "-qq")
FIVE_LINES = """
import sys, time
from fit_log import draw_log
events, items = draw_log(20_000, 500, 300)
import conrec
begin = time.monotonic()
model = conrec.fit(events, items)
model.calibrate(0.05)
decision = model.filter("u1", [f"i{n}" for n in range(20)])
folder = model.save(sys.argv[1])
assert conrec.load(folder).filter("u1", [f"i{n}" for n in range(20)]) == decision
print(f"20,000 events fitted, calibrated, filtered, saved, and loaded in {time.monotonic() - begin:.0f} s")
"""
FILMS = """
import gzip, sys
import pyarrow as pa
def rows(name):
    with gzip.open(f"{sys.argv[1]}/{name}.dat.gz", "rt", encoding="utf-8") as file:
        return zip(*(line.rstrip("\\n").split("::") for line in file))
user, item, value, seconds = rows("ratings")
times = pa.array([int(s) * 10**6 for s in seconds], pa.timestamp("us", tz="UTC"))
events = pa.table({"user_id": user, "item_id": item, "value": [float(v) for v in value], "time": times})
films = pa.table(dict(zip(("item_id", "title", "category"), rows("movies"))))
import conrec
model = conrec.fit(events, films, dislike_at_most=5, like_at_least=8)
decision = model.filter(user[-1], item[-500:])
print(f"{len(user):,} ratings; of {len(decision.scores)} candidates {len(decision.kept)} are kept")
"""
"""Five lines on a log of films; before them the two files become tables."""


def build_wheel(out: Path, python: str = sys.executable) -> Path:
    """The project's wheel, built into the folder."""
    subprocess.run([python, *PIP, "wheel", "--no-deps", "--wheel-dir", str(out), str(ROOT)], check=True)
    return next(out.glob("conrec-*.whl"))


def fresh(folder: Path, wheel: Path, extras: list[str]) -> Path:
    """The Python of a fresh environment that has the wheel and what it needs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = folder / "bin" / "python"
    wanted = f"{wheel}[{','.join(extras)}]" if extras else str(wheel)
    subprocess.run([str(python), *PIP, "install", wanted], check=True)
    return python


def weights(site_packages: Path) -> dict[str, tuple[int, int]]:
    """By package: bytes, and bytes of bytecode. Every file counts once, what no package lists as `(other)`."""
    owner = {}
    for package in distributions(path=[str(site_packages)]):
        assert isinstance(package, PathDistribution)
        for file in package.files or ():
            owner[os.path.normpath(site_packages / file)] = package.name
    found: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for path in site_packages.rglob("*"):
        if path.is_file() and not path.is_symlink():
            found[owner.get(os.path.normpath(path), "(other)")][path.suffix == ".pyc"] += path.stat().st_size
    return {name: (whole, code) for name, (whole, code) in found.items() if name not in OWN}


def table(found: dict[str, tuple[int, int]], least: float = 1.0) -> str:
    """In MB, the largest first; what has less than `least` goes into one line."""
    large = sorted((one for one in found.items() if sum(one[1]) >= least * 1e6), key=lambda one: -sum(one[1]))
    small = [sizes for _, sizes in found.items() if sum(sizes) < least * 1e6]
    rows = [*large, (f"{len(small)} smaller ones", (sum(a for a, _ in small), sum(b for _, b in small)))]
    rows.append(("all", (sum(a for a, _ in found.values()), sum(b for _, b in found.values()))))
    lines = [f"{'package':24} {'MB':>7} {'bytecode':>9}"]
    return "\n".join(lines + [f"{name:24} {whole / 1e6:7.1f} {code / 1e6:9.1f}" for name, (whole, code) in rows])


def main(extras: list[str], films: Path | None) -> int:
    """Install, weigh, try; the exit status."""
    with tempfile.TemporaryDirectory(prefix="conrec-install-") as scratch:
        folder, begin = Path(scratch), time.monotonic()
        python = fresh(folder / "venv", build_wheel(folder), extras)
        seconds = time.monotonic() - begin
        found = weights(next((folder / "venv" / "lib").glob("python*/site-packages")))
        print(table(found))
        print(f"built and installed in {seconds:.0f} s", flush=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "benchmarks")}
        command = [str(python), "-c", FIVE_LINES, "model"]
        status = subprocess.run(command, cwd=folder, env=environment).returncode
        if films:
            begin = time.monotonic()
            status |= subprocess.run([str(python), "-c", FILMS, str(films.absolute())], cwd=folder).returncode
            took = time.monotonic() - begin
            print(f"films: {took:.0f} s up to the first filtered list, {seconds + took:.0f} s with the install")
    over = not extras and sum(whole for whole, _ in found.values()) > LIMIT * 1e6
    if over:
        print(f"over the limit of {LIMIT} MB", file=sys.stderr)
    return int(over or status != 0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser("python -m benchmarks.install", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("extras", nargs="*", metavar="EXTRA")
    parser.add_argument("--films", type=Path, metavar="DIR", help="MovieTweetings: ratings.dat.gz and movies.dat.gz")
    options = parser.parse_args()
    sys.exit(main(options.extras, options.films))
