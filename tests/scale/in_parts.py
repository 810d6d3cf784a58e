"""`conrec` whose work is cut into many small parts, however small the log: `python -m tests.scale.in_parts VERB ...`.

Says what was sent to a Ray cluster, a line each: `sent: Decoder.predict.<locals>.some`.
"""

from typing import Any

from conrec.cli.main import program
from conrec.data import clean, windows
from conrec.decode import candidates, decoder
from conrec.deploy import refresh
from conrec.items import swing
from conrec.sid import codebook

USERS = 40


def cut() -> None:
    """Cut all work of this process into small parts."""
    clean.TOGETHER = 1000
    codebook.AT_ONCE = 16
    windows.AT_ONCE = 50
    candidates.USERS_AT_ONCE = decoder.USERS_AT_ONCE = refresh.USERS_AT_ONCE = USERS
    swing.ITEMS_AT_ONCE = 16


def tell() -> None:
    """Print what is sent from now on."""
    try:
        import ray
    except ImportError:
        return
    put = ray.put

    def telling(work: Any) -> Any:
        print("sent:", getattr(work, "func", work).__qualname__, flush=True)
        return put(work)

    ray.put = telling


if __name__ == "__main__":
    cut()
    tell()
    program()
