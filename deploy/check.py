"""The Dockerfile's steps without Docker: `make container-check`. Says for each part what was seen.

1. What the Dockerfile copies is copied into an empty folder, and its `pip install` is run there in a fresh environment.
2. A small model is fitted with that environment.
3. The Dockerfile's command, health check, and `nightly` are run as its user under its variables. Where the machine
   allows it (root on Linux) the root file system is mounted read-only for them, but for the model and /tmp.

The base image, the layers, and the network of containers are not part of it. Lint where the tools are installed:
hadolint, docker compose, systemd-analyze, shellcheck, check-jsonschema.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
DOCKERFILE = re.sub(r"^#.*\n", "", (HERE / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
FIT = """
import sys
sys.path.insert(0, sys.argv[1])
from fit_log import draw_log
import conrec
import pyarrow as pa, pyarrow.compute as pc, pyarrow.parquet as pq
events, items = draw_log(30_000, 600, 300)
conrec.fit(events, items).save("model")
times = pa.array([pc.max(events["time"]).as_py()] * 500, events["time"].type)
pq.write_table(events.slice(0, 500).set_column(2, "time", times), "day.parquet")
"""
SEALED = """
set -e
mount --make-rprivate /
mount --bind {model} {model}
mount --bind {incoming} {incoming}
mount -t tmpfs tmpfs /tmp
mount -o remount,bind,ro /
exec setpriv --reuid 10001 --regid 10001 --clear-groups --no-new-privs --bounding-set=-all "$@"
"""
"""The root file system read-only but for three places, and a user without rights; in a mount namespace of its own."""


def instruction(name: str) -> list[str]:
    """What follows an instruction, one entry each time; continued lines joined."""
    whole = DOCKERFILE.replace("\\\n", " ")
    return [" ".join(found.split()) for found in re.findall(rf"^{name} (.*)$", whole, re.MULTILINE)]


def say(text: str) -> None:
    print(text, flush=True)


def run(command: list[str], **more: object) -> None:
    """SystemExit that names a command that fails."""
    if subprocess.run(command, **more).returncode:  # type: ignore[call-overload]
        raise SystemExit(f"failed: {shlex.join(command)}")


def lint(folder: Path) -> None:
    """Each file by the tool that knows it, where it is installed; units are copied to the folder first."""
    units = []
    for path in sorted((HERE / "systemd").iterdir()):
        units.append(str(folder / path.name))  # the programs are not installed where the unit will find them
        Path(units[-1]).write_text(re.sub(r"/opt/conrec/bin/\S+", "/bin/true", path.read_text(encoding="utf-8")))
    tools = {
        "hadolint": [str(HERE / "Dockerfile")],
        "docker": ["compose", "--file", str(HERE / "compose.yaml"), "config", "--quiet"],
        "systemd-analyze": ["verify", "--man=no", *units],
        "shellcheck": [str(HERE / "nightly")],
        "check-jsonschema": ["--builtin-schema", "vendor.compose-spec", str(HERE / "compose.yaml")],
    }
    for tool, words in tools.items():
        there = shutil.which(tool) is not None
        if there and tool == "docker":
            there = subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0
        if there:
            run([tool, *words], env={**os.environ, "MODEL": "/model", "INCOMING": "/incoming"})
        say(f"{tool}: {'no fault' if there else 'not installed, so not asked'}")


def build(folder: Path) -> Path:
    """The Dockerfile's first stage, from nothing but what it copies; the environment."""
    source, environment = folder / "src", folder / "venv"
    source.mkdir()
    stage = DOCKERFILE[: DOCKERFILE.rindex("\nFROM")]
    for line in re.findall(r"^COPY (.*)$", stage, re.MULTILINE):
        *what, to = line.split()
        for name in what:
            place = source / to / (name if to == "./" else "")
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, place)
    (command,) = re.findall(r"^RUN ((?:.*\\\n)*.*)$", stage, re.MULTILINE)
    command = command.replace("\\\n", " ").replace("/opt/conrec", str(environment))
    run(["sh", "-c", command.replace("python -m venv", f"{shlex.quote(sys.executable)} -m venv")], cwd=source)
    return environment


def main() -> None:
    """All three parts; SystemExit at the first that fails."""
    sealed = sys.platform == "linux" and os.geteuid() == 0 and shutil.which("unshare") is not None
    with tempfile.TemporaryDirectory(prefix="conrec-container-", dir="/var/tmp") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        lint(folder)
        begin = time.monotonic()
        environment = build(folder)
        say(f"built from what the Dockerfile copies, in {time.monotonic() - begin:.0f} s")
        python = str(environment / "bin" / "python")
        run([python, "-c", "import importlib.util as u, sys; sys.exit(u.find_spec('torch') is not None)"])
        run([python, "-c", FIT, str(ROOT / "benchmarks")], cwd=folder)
        model, incoming = folder / "model", folder / "incoming"
        incoming.mkdir()
        for name in ("nightly", "health"):
            shutil.copy(HERE / name, environment / "bin" / f"conrec-{name}")
        (folder / "day.parquet").rename(incoming / "events-1.parquet")
        run(["chown", "-R", "10001:10001", str(model), str(incoming)]) if sealed else None
        variables = dict(pair.split("=", 1) for line in instruction("ENV") for pair in shlex.split(line))
        placed = {name: value.replace("/model", str(model)) for name, value in variables.items()}
        placed |= {"PATH": f"{environment / 'bin'}:{os.environ['PATH']}", "CONREC_PORT": "8765"}
        placed |= {"CONREC_HOST": "127.0.0.1", "HOME": "/nonexistent"}

        def inside(words: list[str]) -> list[str]:
            """The command as it runs in the container."""
            words = [word.replace("/model", str(model)) for word in words]
            if not sealed:
                return words
            script = SEALED.format(model=model, incoming=incoming)
            return ["unshare", "--mount", "sh", "-c", script, "sh", *words]

        command = json.loads(instruction("ENTRYPOINT")[0]) + json.loads(instruction("CMD")[-1])
        health = json.loads(instruction("HEALTHCHECK")[0].partition("CMD ")[2])
        health = [
            word.replace("/usr/local/bin/conrec-health", str(environment / "bin" / "conrec-health")) for word in health
        ]
        service = subprocess.Popen(inside(command), env=placed)
        try:
            begin = time.monotonic()
            while subprocess.run(inside(health), env=placed, stderr=subprocess.DEVNULL).returncode:
                if service.poll() is not None or time.monotonic() - begin > 300:
                    raise SystemExit("the service does not answer the health check")
                time.sleep(0.5)
            say(f"healthy after {time.monotonic() - begin:.1f} s")
            before = answer()
            run(inside(["conrec-nightly", "/model", str(incoming)]), env=placed)
            time.sleep(2)
            after = answer()
        finally:
            service.terminate()
            service.wait(30)
        done = [path.name for path in (incoming / "done").iterdir()]
        if before["fail_open"] or after["version"] == before["version"] or done != ["events-1.parquet"]:
            raise SystemExit(f"the nightly job published nothing: {before}, {after}, {done}")
        how = "read-only, as user 10001, without capabilities" if sealed else "as the present user, not read-only"
        say(f"served and refreshed ({how}): {before['version']}, then {after['version']}")


def answer() -> dict:
    """What the service says of a list."""
    body = json.dumps({"user": "u1", "candidates": [f"i{n}" for n in range(20)]}).encode()
    headers = {"Content-Type": "application/json"}
    with urllib.request.urlopen(
        urllib.request.Request("http://127.0.0.1:8765/v1/filter", body, headers), timeout=30
    ) as response:
        return json.load(response)


if __name__ == "__main__":
    main()
