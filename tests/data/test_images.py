"""Pictures are found by exact names, and nothing that a stranger writes leads out of the folder."""

import csv
import zipfile
from pathlib import Path

import pytest

from conrec.data import images
from conrec.data.images import Found, Pictures, imdb_key, movielens_key
from conrec.errors import ConrecError

JPEG = b"\xff\xd8\xff"


def archive(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return path


def test_shipped_posters_are_all_found(shared_data: Path) -> None:
    pictures = Pictures(shared_data / "movie-posters")
    with (shared_data / "movie-posters" / "posters.csv").open() as file:
        listed = list(csv.DictReader(file))
    assert len(listed) == 10_535
    for row in listed:
        keys = [imdb_key(row["imdb_id"])] if row["imdb_id"] else [movielens_key(row["movielens_id"])]
        content = pictures.find(keys).content
        assert content is not None
        assert content.startswith(JPEG)


def test_files_by_key_and_suffix(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.PNG", "c.png", "d.txt"):
        (tmp_path / name).write_bytes(JPEG)
    pictures = Pictures(tmp_path)
    assert pictures.find(["a"]) == Found(file=str((tmp_path / "a.jpg").resolve()))
    assert pictures.find(["nothing", "c"]).file == str((tmp_path / "c.png").resolve())
    assert pictures.find(["d"]) == Found(cause="no picture")
    assert pictures.find([]) == Found(cause="no picture")


def test_members_of_a_zip_by_exact_name(tmp_path: Path) -> None:
    path = archive(tmp_path / "p.zip", {"a.jpg": JPEG, "../b.jpg": JPEG, "sub/c.jpg": JPEG})
    for where in (path, tmp_path):
        pictures = Pictures(where)
        assert pictures.find(["a"]).content == JPEG
        assert pictures.find(["b"]) == Found(cause="no picture")
        assert pictures.find(["c"]) == Found(cause="no picture")
        assert pictures.find(["sub/c"]).content == JPEG


@pytest.mark.parametrize("key", ["../secret", "sub/../../secret", "", ".", "/etc/passwd", "a\x00b", "x" * 5000])
def test_keys_never_lead_out_of_the_folder(tmp_path: Path, key: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    folder = tmp_path / "images"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(JPEG)
    assert Pictures(folder).find([key]).cause is not None
    assert images.below(folder, key + ".jpg").cause is not None


def test_links_out_of_the_folder_are_not_followed_by_name(tmp_path: Path) -> None:
    (tmp_path / "secret.jpg").write_bytes(JPEG)
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "a.jpg").symlink_to(tmp_path / "secret.jpg")
    assert images.below(folder, "a.jpg") == Found(cause="picture outside the folder")


def test_a_member_that_is_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGEST", 1000)
    pictures = Pictures(archive(tmp_path / "p.zip", {"bomb.jpg": b"\0" * 100_000, "ok.jpg": b"\0" * 1000}))
    assert pictures.find(["bomb"]) == Found(cause="picture too large")
    assert pictures.find(["bomb", "ok"]).content == b"\0" * 1000


def test_a_member_that_lies_about_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "LARGEST", 1000)
    path = archive(tmp_path / "p.zip", {"bomb.jpg": b"\0" * 100_000})
    content = path.read_bytes().replace((100_000).to_bytes(4, "little"), (900).to_bytes(4, "little"))
    path.write_bytes(content)
    assert Pictures(path).find(["bomb"]) == Found(cause="picture unreadable")


def test_a_broken_member(tmp_path: Path) -> None:
    path = archive(tmp_path / "p.zip", {"a.jpg": bytes(range(256)) * 40, "b.jpg": JPEG})
    content = bytearray(path.read_bytes())
    content[40:200] = b"\xff" * 160
    path.write_bytes(bytes(content))
    pictures = Pictures(path)
    assert pictures.find(["a"]) == Found(cause="picture unreadable")
    assert pictures.find(["b"]).content == JPEG


def test_posters_csv_gives_other_names(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(JPEG)
    (tmp_path / "7.jpg").write_bytes(JPEG)
    (tmp_path.parent / "out.jpg").write_bytes(JPEG)
    (tmp_path / "posters.csv").write_text(
        "file,imdb_id,movielens_id,item_id\nx.jpg,114709,1,sku\n../out.jpg,,2,\ngone.jpg,,3,\n"
    )
    pictures = Pictures(tmp_path)
    for key in ("tt0114709", "ml1", "sku"):
        assert pictures.find([key]).file == str((tmp_path / "x.jpg").resolve())
    assert pictures.find(["ml2"]).cause is not None
    assert pictures.find(["ml3"]) == Found(cause="no picture")
    assert pictures.find(["7"]).file == str((tmp_path / "7.jpg").resolve())


def test_imdb_ids_have_seven_digits_or_more() -> None:
    assert [imdb_key(i) for i in ("1", "0114709", "tt0114709", "12345678")] == [
        "tt0000001",
        "tt0114709",
        "tt0114709",
        "tt12345678",
    ]


def test_what_is_wrong_with_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ConrecError, match="nowhere: there is no such folder; --images"):
        Pictures(tmp_path / "nowhere")
    with pytest.raises(ConrecError, match="holds no pictures"):
        Pictures(tmp_path)
    (tmp_path / "p.zip").write_bytes(b"not a zip")
    with pytest.raises(ConrecError, match=r"p\.zip: not a readable zip"):
        Pictures(tmp_path)
    archive(tmp_path / "p.zip", {"a.jpg": JPEG})
    (tmp_path / "posters.csv").write_text("name,url\n1,2\n")
    with pytest.raises(ConrecError, match=r"posters\.csv: expected the columns file and one of imdb_id"):
        Pictures(tmp_path)
