"""The command line: verb -> function. `conrec --help` lists the verbs, `conrec VERB --help` teaches one.

A verb is a function of one dataclass, which its options are read into, or of nothing; its docstring is its help. What
is heavy is imported inside the functions, so that help and mistakes come at once.
"""

import difflib
import errno
import inspect
import os
import re
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

from conrec import __version__
from conrec.cli import check, deploy, doctor, plan, research, run
from conrec.errors import ConrecError, extras_named
from conrec.processes import leave
from conrec.run import STAGES

VERBS: dict[str, Callable[..., None]] = {
    "demo": run.demo,
    "fit": run.fit,
    "check": check.check,
    "plan": plan.plan,
    "run": run.run,
    **{stage.name: run.one_stage(stage) for stage in STAGES if stage.does},
    "filter": deploy.filter_,
    "replay": deploy.replay,
    "calibrate": deploy.calibrate,
    "refresh": deploy.refresh,
    "forget": deploy.forget,
    "export": deploy.export,
    "serve": deploy.serve,
    "fetch": research.fetch,
    "reproduce": research.reproduce,
    "doctor": doctor.doctor,
}


@dataclass(frozen=True)
class Nothing:
    """For a verb without options."""


def overview() -> str:
    """The text of `conrec --help`."""
    width = max(map(len, VERBS))
    verbs = [f"  {name:{width}}  {(verb.__doc__ or '').splitlines()[0]}" for name, verb in VERBS.items()]
    text = "Learns what each user will dislike, and keeps it out of what a recommender shows."
    last = "`conrec VERB --help` says what a verb reads and writes, with an example. Begin with `conrec demo`."
    return "\n".join(["usage: conrec VERB ...", "", text, "", *verbs, "", last])


def main(argv: list[str] | None = None) -> int:
    """Run one verb; the exit status: 0 done, 2 a mistake that the user can mend, 130 stopped by the user."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(overview())
        return 0 if argv else 2
    if argv[0] in ("-V", "--version"):
        print(__version__)
        return 0
    try:
        with extras_named():
            _call(argv[0], argv[1:])
    except ConrecError as error:
        print(f"conrec: {error}", file=sys.stderr)
        return 2
    except Exception as error:
        if not is_full(error):
            raise
        print("conrec: no space left on the disk; make room and run the same command again", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("conrec: stopped; run the same command again to continue", file=sys.stderr)
        return 130
    leave()
    return 0


def is_full(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that a disk is full; numpy and what is not Python have only words."""
    while error is not None:
        full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
        if full or re.search(r"No space left|disk is full|\d requested and \d+ written", str(error)):
            return True
        error = error.__cause__ or error.__context__
    return False


def program() -> NoReturn:
    """The command `conrec`: `main`, and then the end, without what the interpreter would still clean up.

    The connections between processes outlive the interpreter, and now and then abort a process whose files are all
    written (of two processes one in five), which looks like a failure.
    """
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _call(name: str, rest: list[str]) -> None:
    if name not in VERBS:
        near = difflib.get_close_matches(name, VERBS, 1)
        raise ConrecError(f"{name}: no such verb" + (f"; did you mean {near[0]}?" if near else "; see conrec --help"))
    import tyro

    verb = VERBS[name]
    options = typing.get_type_hints(verb).get("args")
    description = inspect.cleandoc(verb.__doc__ or "")
    config = (tyro.conf.FlagCreatePairsOff,)
    parsed = tyro.cli(options or Nothing, prog=f"conrec {name}", description=description, args=rest, config=config)
    verb(parsed) if options else verb()
