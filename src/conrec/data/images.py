"""Pictures of items: files in a folder or members of a zip archive, looked up by their exact name only.

Names come from strangers (an item id may be `../../etc/passwd`): a name must be one of those that are there, and a
path must stay below its folder, or there is no picture. Nothing is unpacked to disk.
"""

import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from conrec.data.adapters import files
from conrec.errors import ConrecError

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
LARGEST = 8 * 1024 * 1024
"""Bytes; a larger member of an archive is left where it is."""


@dataclass(frozen=True)
class Found:
    """A picture as a file, or as bytes out of an archive, or the cause why there is none."""

    file: str | None = None
    content: bytes | None = None
    cause: str | None = None


class Pictures:
    """The pictures under a folder or in a zip.

    A key leads to a picture through `posters.csv` in the folder, where there is one (column `file`, and any of
    `imdb_id`: key `tt` + seven digits, `movielens_id`: key `ml` + id, `item_id`: the id itself), else to the file
    `<key>.jpg` (.jpeg, .png, .webp). The files lie in the folder itself or in a zip in it.
    """

    def __init__(self, where: Path) -> None:
        if not where.exists():
            raise ConrecError(f"{where}: there is no such folder; --images must be a folder of pictures or a zip")
        self._folder = where if where.is_dir() else None
        self._files: dict[str, str] = {}
        self._members: dict[str, tuple[zipfile.ZipFile, zipfile.ZipInfo]] = {}
        archives = [where] if where.is_file() else []
        if where.is_dir():
            for entry in sorted(os.scandir(where), key=lambda entry: entry.name):
                if entry.is_file() and entry.name.lower().endswith(SUFFIXES):
                    self._files[entry.name] = str(Path(entry.path).resolve())
                elif entry.is_file() and entry.name.lower().endswith(".zip"):
                    archives.append(Path(entry.path))
        for archive in archives:
            try:
                opened = zipfile.ZipFile(archive)
            except (zipfile.BadZipFile, OSError) as error:
                raise ConrecError(f"{archive}: not a readable zip ({error}); fetch it again") from None
            for member in opened.infolist():
                self._members.setdefault(member.filename, (opened, member))
        posters = where / "posters.csv"
        self._names = _read_names(posters) if posters.is_file() else {}
        if not self._files and not self._members:
            raise ConrecError(f"{where}: holds no pictures ({', '.join(SUFFIXES)}) and no zip of them")

    def find(self, keys: Sequence[str]) -> Found:
        """The picture under the first key that has one."""
        cause = "no picture"
        for key in keys:
            named = self._names.get(key)
            for name in [named] if named is not None else [key + suffix for suffix in SUFFIXES]:
                found = self.named(name) if "/" not in name or name in self._members else Found(cause="no picture")
                if found.cause is None:
                    return found
                if found.cause != "no picture":
                    cause = found.cause
        return Found(cause=cause)

    def named(self, name: str) -> Found:
        """The picture of exactly this name: a file below the folder, or a member of a zip."""
        if name in self._files:
            return Found(file=self._files[name])
        if name not in self._members:
            return Found(cause="no picture") if self._folder is None else below(self._folder, name)
        archive, member = self._members[name]
        if member.file_size > LARGEST:
            return Found(cause="picture too large")
        try:
            with archive.open(member) as file:
                # The size in the directory may lie: this bounds what is unpacked. Too little or too much of it then
                # fails the checksum.
                return Found(content=file.read(LARGEST + 1))
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError):
            return Found(cause="picture unreadable")


def below(folder: Path, name: str) -> Found:
    """The picture that a stranger's path names, if it is a file below the folder."""
    file = None if "\x00" in name or len(name) > 1024 else (folder / name).resolve()
    if file is None or not file.is_relative_to(folder.resolve()):
        return Found(cause="picture outside the folder")
    if not name.lower().endswith(SUFFIXES) or not file.is_file():
        return Found(cause="no picture")
    return Found(file=str(file))


def imdb_key(number: str) -> str:
    """`tt` and at least seven digits, as the files are called."""
    return "tt" + number.strip().removeprefix("tt").zfill(7)


def movielens_key(number: str) -> str:
    return "ml" + number.strip()


def _read_names(path: Path) -> dict[str, str]:
    makers: dict[str, Callable[[str], str]] = {"imdb_id": imdb_key, "movielens_id": movielens_key, "item_id": str}
    have = files.header(path)
    named = [column for column in makers if column in have]
    if "file" not in have or not named:
        raise ConrecError(f"{path}: expected the columns file and one of {', '.join(makers)}, not: {', '.join(have)}")
    names: dict[str, str] = {}
    for row in files.read(path, ("file", *named)).table.to_pylist():
        for column in named:
            if row[column] and row["file"]:
                names.setdefault(makers[column](row[column]), row["file"])
    return names
