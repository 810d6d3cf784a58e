"""What a call of the daily job did, for people and for programs."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Refreshed:
    """What a call of `refresh` did."""

    version: str
    """The snapshot in use."""
    changed: bool
    """Whether it is a new one."""
    users: int
    recomputed: int
    """Users whose predictions were updated."""
    account: dict[str, Any] | None
    """What became of every row of the input; None without one."""

    def __str__(self) -> str:
        lines = []
        if self.account is not None:
            lines += [_account_line("events", self.account)]
            if self.account.get("items", {}).get("read"):
                lines += [_account_line("items", self.account["items"])]
        state = "in use" if self.changed else "stays in use: nothing is new"
        return "\n".join([*lines, f"{self.version} {state}; {self.users:,} users, {self.recomputed:,} made anew"])


def _account_line(what: str, account: dict[str, Any]) -> str:
    """For example `events: 812 read, 790 kept; dropped: duplicate 20, unknown_item 2`."""
    dropped = ", ".join(f"{cause} {count:,}" for cause, count in account["dropped"].items())
    return f"{what}: {account['read']:,} read, {account['kept']:,} kept" + (f"; dropped: {dropped}" if dropped else "")
