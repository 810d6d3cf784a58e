"""The one error that a user is meant to read."""

import contextlib
from collections.abc import Iterator
from importlib.util import find_spec

EXTRAS = {
    "train": ("torch", "transformers", "tokenizers", "peft", "accelerate", "vector_quantize_pytorch", "faiss"),
    "images": ("skimage",),
    "report": ("vl_convert",),
    "serve": ("starlette", "uvicorn", "prometheus_client"),
    "encoders": ("sentence_transformers", "gguf"),
    "redis": ("redis",),
    "sql": ("duckdb", "fsspec"),
    "scale": ("ray",),
}
"""What `pip install conrec` leaves out: by the extra that brings it, the modules as they are imported."""


class ConrecError(Exception):
    """Something the user can mend: one line that names the file, row or flag, and says what to do.

    The command line prints it without a traceback and exits with status 2.
    """


@contextlib.contextmanager
def extras_named(what: str = "this") -> Iterator[None]:
    """What is done inside says what to install, as ConrecError, where a module of an extra is not there."""
    try:
        yield
    except ModuleNotFoundError as error:
        name = str(error.name).partition(".")[0]
        for extra, modules in EXTRAS.items():
            if name in modules:
                raise ConrecError(f"{what} needs {name}; pip install 'conrec[{extra}]'") from error
        raise


def need(*extras: str) -> None:
    """ConrecError where a module of one of these extras is not there; none is imported."""
    with extras_named():
        for name in (module for extra in extras for module in EXTRAS[extra]):
            if find_spec(name) is None:
                raise ModuleNotFoundError(name=name)
