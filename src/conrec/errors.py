"""The one error that a user is meant to read."""


class ConrecError(Exception):
    """Something the user can mend: one line that names the file, row or flag, and says what to do.

    The command line prints it without a traceback and exits with status 2.
    """
