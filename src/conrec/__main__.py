"""The command `conrec`, and `python -m conrec`."""

from conrec.cli.main import VERBS, main, program

__all__ = ["VERBS", "main", "program"]

if __name__ == "__main__":
    program()
