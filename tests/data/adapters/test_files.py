"""Text to rows: which quotes are believed, that every line of a file is a row or is named, and what no CSV is."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conrec.data.adapters import files
from conrec.data.adapters.files import QUOTE, RAGGED, read, read_pattern
from conrec.errors import ConrecError
from tests.data.adapters.files_for_tests import write

HEAD = "user,time,note\n"


def lines(n: int, start: int = 0) -> str:
    return "".join(f"u{k},2026-06-{1 + k % 28:02}T12:00:00Z,fine {'so ' * (k % 5)}\n" for k in range(start, start + n))


def users(*numbers: int) -> list[str]:
    return [f"u{n}" for n in numbers]


@pytest.mark.parametrize(
    ("text", "lost", "kept"),
    [
        pytest.param('u0,1,"oops\n' + lines(50, 1), {1: QUOTE}, range(1, 51), id="never closed"),
        pytest.param(lines(50) + 'u50,1,"oops', {}, range(51), id="never closed, but nothing comes after it"),
        pytest.param(
            lines(20) + 'u20,1,"a\n' + lines(9, 21) + 'u30,1,"b"\n' + lines(9, 31),
            {21: QUOTE},
            [*range(20), *range(21, 40)],
            id="the next quote opens another cell",
        ),
        pytest.param(
            lines(20) + 'u20,1,"a\nu21,1,"b\n' + lines(9, 22), {21: QUOTE, 22: QUOTE}, [*range(20), *range(22, 31)],
            id="one after the other",
        ),
        pytest.param(
            lines(20) + 'u20,2026-06-01T12:00:00Z,"a\n' + lines(2, 21) + 'u23,2026-06-01T12:00:00Z,it is 5"\n',
            {21: QUOTE},
            [*range(20), 21, 22, 23],
            id="closed where it would be right, but around rows",
        ),
        pytest.param('"u0","1","x\n"u1","2","y"\n"u2","3","z"\n', {1: QUOTE}, [1, 2], id="all cells are in quotes"),
        pytest.param('"u0,"1","x"\n"u1","2","y"\n', {1: RAGGED}, [1], id="a quote too few in a line"),
        pytest.param(lines(9) + 'u9,1,"two\nlines, a ""word"""\n' + lines(9, 10), {}, range(19), id="by right"),
        pytest.param(
            lines(9) + 'u9,1,"size, 12\nred, 7\n\n20 cm, 8"\n"u10","2\n","x\ny"\n', {}, range(11), id="commas"
        ),
        pytest.param(lines(9) + '\n\nu9,1,5" wide\n\nu10,1,12" x 3"\n', {}, range(11), id="quotes in a cell"),
        pytest.param(lines(5) + "u5,1\nu6,1,2,3\n" + lines(1, 7), {6: RAGGED, 7: RAGGED}, [*range(5), 7], id="ragged"),
        pytest.param(
            lines(5) + f"u5,1,{'x' * 3_000_000}\n" + lines(5, 6), {}, range(11), id="3 MB"
        ),
        pytest.param(f'u0,1,"{"x" * 3_000_000}"\n' + lines(5, 1), {}, range(6), id="the same in quotes"),
        pytest.param("", {}, [], id="no row"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["x.csv", "x.tsv.gz"])
def test_every_line_is_a_row_or_named(
    tmp_path: Path, text: str, lost: dict, kept: list[int], end: str, name: str
) -> None:
    text = (HEAD + text).replace("\n", end).replace(",", "\t" if "tsv" in name else ",")
    raw = read(write(tmp_path / name, text), ("user",))  # the broken cell is in no column that is read
    assert raw.lost == lost
    assert raw.table["user"].to_pylist() == users(*kept)
    assert sorted([*raw.numbers.tolist(), *raw.lost]) == [*range(1, len(raw.lost) + len(kept) + 1)]


@pytest.mark.parametrize("rows", [20_000, 60_000])
def test_a_quote_in_a_file_of_several_blocks(tmp_path: Path, rows: int) -> None:
    text = HEAD + lines(rows) + 'x,1,"oops\n' + lines(rows, rows) + 'y,1,"fine\nso"\n' + lines(rows, 2 * rows)
    raw = read(write(tmp_path / "x.csv", text), ("user", "time"))
    assert raw.lost == {rows + 1: QUOTE}
    assert raw.table["user"].to_pylist() == [*users(*range(2 * rows)), "y", *users(*range(2 * rows, 3 * rows))]


CELL = st.text(st.sampled_from('abc,"\n é\t'), max_size=8)


@settings(max_examples=200, deadline=None)
@given(
    table=st.lists(st.tuples(CELL, CELL, CELL), max_size=12),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
)
def test_what_a_csv_writer_writes_is_read_as_it_was(tmp_path_factory, table: list, quoting: int) -> None:
    table = [(f"u{n}", *cells) for n, cells in enumerate(table)]
    out = io.StringIO()
    csv.writer(out, quoting=quoting, lineterminator="\n").writerows([("id", "a", "b", "c"), *table])
    raw = read(write(tmp_path_factory.mktemp("csv") / "x.csv", out.getvalue()), ("id", "a", "b", "c"))
    assert raw.lost == {}
    assert list(zip(*(column.to_pylist() for column in raw.table.columns), strict=True)) == table


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.booleans(), CELL), max_size=30))
def test_a_stray_quote_costs_its_own_row_alone(tmp_path_factory, rows: list) -> None:
    rows = [*[(False, "")] * 3, *rows, (False, "")]
    text, broken = "id,time,a\n", set[int]()
    for n, (stray, cell) in enumerate(rows):
        cell = cell.replace("\n", "").replace(",", "").replace('"', "")
        broken |= {n} if stray else set()
        text += f"u{n},2026-06-01,{chr(34) if stray else ''}{cell}\n"
    raw = read(write(tmp_path_factory.mktemp("csv") / "x.csv", text), ("id",))
    assert set(raw.lost) == {n + 1 for n in broken}
    assert raw.table["id"].to_pylist() == users(*(n for n in range(len(rows)) if n not in broken))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n".encode("utf-16"), "is not UTF-8 text .*; save it as CSV in UTF-8"),
        ("a,b\n1,2\n".encode("utf-16-le"), "is not UTF-8 text"),
        (b"PK\x03\x04\x14\0\x06\0", "is not UTF-8 text .*a spreadsheet"),
        (b"a,b" + b"x" * 200_000 + b"\n1,2\n", "cannot be read .*field larger than field limit"),
        (b"", "is empty; expected a first line"),
        (b"\n\n", "is empty"),
        (b"a,a,b\n", "several columns 'a'"),
    ],
)
def test_what_is_no_csv_is_said_with_the_remedy(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(ConrecError, match=rf"x\.csv: {message}") as error:
        read(write(tmp_path / "x.csv", content), ("a",))
    assert "\n" not in str(error.value)


def test_bytes_that_are_no_text_are_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    raw = read(write(tmp_path / "x.csv", "id,title\n1,René\n2,Renè\n".encode("latin-1")), ("id", "title"))
    assert raw.table["title"].to_pylist() == ["Ren\ufffd", "Ren\ufffd"]
    assert "x.csv: not all of it is UTF-8" in capsys.readouterr().err


@pytest.mark.parametrize("end", ["\n", ""])
def test_a_broken_row_that_is_no_text_costs_itself_alone(tmp_path: Path, end: str) -> None:
    raw = read(write(tmp_path / "x.csv", (HEAD + lines(5) + "Ren\xe9,1,2,3" + end).encode("latin-1")), ("user",))
    assert (raw.lost, raw.lines) == ({6: RAGGED}, {6: "Ren\ufffd,1,2,3"})
    assert raw.table["user"].to_pylist() == users(*range(5))


def test_what_stands_in_a_broken_line_is_kept(tmp_path: Path) -> None:
    long = 'u1,2,"' + "x" * 5000
    raw = read(write(tmp_path / "x.csv", HEAD + f'u0,1,"a ""b" c\nu0,1\n{long}\n' + lines(5)), ("user",))
    assert raw.lines == {2: "u0,1", 3: long[:2000]}
    raw = read(write(tmp_path / "x.csv", HEAD + 'u0,1,"say "", é\n' + lines(5)), ("user",))
    assert (raw.lost, raw.lines) == ({1: QUOTE}, {1: 'u0,1,"say "", é'})


@pytest.mark.parametrize("cut", ["\t", ";", "|", ","])
@pytest.mark.parametrize("name", ["x.csv", "x.csv.gz", "x.tsv"])
def test_the_header_tells_what_separates_cells(tmp_path: Path, cut: str, name: str) -> None:
    text = f'user{cut} time {cut}"no{cut}te"\n' + f'u0{cut}1{cut}"a{cut}b"\nu1{cut}2{cut}"open\nu2{cut}3{cut}x\n'
    raw = read(write(tmp_path / name, text), ("user", "time", f"no{cut}te"))
    assert raw.table.to_pydict() == {"user": ["u0", "u2"], "time": ["1", "3"], f"no{cut}te": [f"a{cut}b", "x"]}
    assert raw.lost == {2: QUOTE}


def test_recbole(tmp_path: Path) -> None:
    path = write(tmp_path / "ml.inter", "user_id:token\ttimestamp:float\tclass:token_seq\nu\t1.5\ta b\nu\n")
    assert files.header(path) == ["user_id", "timestamp", "class"]
    raw = read(path, ("class", "user_id"))
    assert (raw.table.to_pydict(), raw.lost) == ({"class": ["a b"], "user_id": ["u"]}, {2: RAGGED})


@pytest.mark.parametrize(
    ("there", "found"),
    [
        (["events.csv", "events-1.csv", "events/1.csv"], ["events.csv"]),
        (["events-2.csv", "events_1.csv.gz", "events.old", "eventsx.csv"], ["events-2.csv", "events_1.csv.gz"]),
        (["events/day=1/a.parquet", "events/day=2/b.parquet", "events/_SUCCESS", "events/._b.parquet"],
         ["events/day=1/a.parquet", "events/day=2/b.parquet"]),
        (["ml.inter", "ml.item", "ml.user"], ["ml.inter"]),
        (["items.csv"], []),
    ],
)  # fmt: skip
def test_which_files_are_the_events(tmp_path: Path, there: list[str], found: list[str]) -> None:
    for name in there:
        write(tmp_path / name, "x")
    assert [path.relative_to(tmp_path).as_posix() for path in files.find_all(tmp_path, "events")] == found


def test_lines_by_pattern(tmp_path: Path) -> None:
    path = write(tmp_path / "x.dat", "1::é\r\n\nshort\n2::b\n".encode("latin-1"))
    raw = read_pattern(path, "^(?P<a>[^:]*)::(?P<b>[^:]*)$", ("a", "b"), "latin-1")
    assert (raw.table.to_pydict(), raw.lost) == ({"a": ["1", "2"], "b": ["é", "b"]}, {2: RAGGED})
    assert raw.numbers.tolist() == [1, 3]


def test_memory_is_that_of_a_few_blocks(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", HEAD + lines(600_000) + 'u,1,"oops\n')
    largest = max(map(len, files._sound_lines(path, ",", 3)))
    assert largest < 4 * files.LONGEST < path.stat().st_size


def test_a_row_that_is_too_long(tmp_path: Path) -> None:
    path = write(tmp_path / "x.csv", f"a,b\n{'x' * 3 * files.LONGEST},1\n")
    with pytest.raises(
        ConrecError, match=r"x\.csv: has a row of more than 4 MB; shorten it, or look for an open quote"
    ):
        read(path, ("b",))
