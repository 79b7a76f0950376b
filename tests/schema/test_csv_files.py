"""CSV files as people's programs save them."""

from __future__ import annotations

import pytest

from siamplex.errors import InputError
from siamplex.schema.csv_files import read_lines, read_rows

ROWS = [{"a": "1", "b": "x y", "c": ""}, {"a": "2", "b": "z", "c": "w"}]


def rows_of(path, data, **options):
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return [row for _, row in read_rows(path, ("a", "b"), **options)]


@pytest.mark.parametrize(
    "text",
    [
        "a,b,c\n1,x y,\n2,z,w\n",
        "a;b;c\r\n1;x y;\r\n2;z;w\r\n",
        "a\tb\tc\n1\tx y\t\n2\tz\tw",
        "a|b|c\n1|x y|\n2|z|w\n",
        "sep=,\r\na,b,c\r\n1,x y,\r\n2,z,w\r\n",
        "sep=;\na;b;c\n1;x y;\n2;z;w\n",
        '"sep=^"\na^b^c\n1^x y^\n2^z^w\n',
        "\n\na,b,c\n\n1,x y\n,,\n2,z,w\n,,,,,\n",
        "A , B, C ,,,\n1,x y,,,,\n2,z,w,,,\n",
        '"a", "b", "c"\n"1", "x y", ""\n"2", "z", "w"\n',
        "a,b,c\r1,x y,\r2,z,w\r",
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_every_program_s_form_reads_alike(tmp_path, text, encoding):
    found = rows_of(tmp_path / "t.csv", text.encode(encoding))
    assert [{k.lower(): v for k, v in row.items()} for row in found] == ROWS


def test_letters_beyond_ascii_come_through(tmp_path):
    for encoding in ("utf-8", "utf-16", "cp1252"):
        assert rows_of(tmp_path / "t.csv", "a;b\nJürgen;é\n".encode(encoding)) == [{"a": "Jürgen", "b": "é"}]


def test_rows_are_named_by_the_line_they_begin_at(tmp_path):
    text = 'sep=;\n\n\na;b\n"one\ntwo";1\n\n;;\nthree;"4\r\n5"\nsix;7\n'
    (tmp_path / "t.csv").write_bytes(text.encode())
    found = [(where.rpartition(" ")[2], row["a"]) for where, row in read_rows(tmp_path / "t.csv", ("a", "b"))]
    assert found == [("5", "one\ntwo"), ("9", "three"), ("11", "six")]


def test_columns_go_by_their_name_before_their_aliases(tmp_path):
    aliases = {"a": {"alpha", "alfa"}, "b": {"beta"}}
    path = tmp_path / "t.csv"
    assert rows_of(path, "Álpha;BETA\n1;2\n", aliases=aliases) == [{"a": "1", "b": "2"}]
    assert rows_of(path, "alpha,A,b\n9,1,2\n", aliases=aliases) == [{"alpha": "9", "a": "1", "b": "2"}]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: expected columns a, b, found an empty file"),
        ("x,y\n1,2\n", "found no column a in 'x, y'"),
        ("alpha;alfa;b\n1;2;3\n", "found 'alpha' and 'alfa', both a column a"),
        ("a,b,A\n1,2,3\n", "found 'a' and 'A', both a column a"),
        ("a,b,;a;b\n1,2,3\n", "expected one mark between the cells, found ',' and ';'"),
        ("a,b\n1,2,3\n", "t.csv line 2: expected 2 values, found 3"),
        ('a,b\n1,2\n\n3,"4\n5,6\n', "t.csv line 4: expected a readable CSV, found unexpected end of data"),
        ("a,b\n1,2\n3,\0\n", "t.csv line 3: expected text, found a zero byte"),
        (b"a,b\n\x81,\x8d\n", "expected a CSV in UTF-8, UTF-16 or Windows-1252, found other bytes"),
        (b"\xff\xfea,b", "expected a CSV in UTF-8, UTF-16 or Windows-1252, found other bytes"),
        (b"PK\x03\x04rest", "expected a CSV, found a workbook: save it as CSV"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused_in_one_line(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        rows_of(tmp_path / "t.csv", text, aliases={"a": {"alpha", "alfa"}})
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x;y\n0,19;1\n", [0.19, 1]),
        ("x;y\n0.19;1e-05\n", [0.19, 1e-05]),
        ("x;y\n1,234;5\n", [1.234, 5]),
        ("x,y\n1.234,5\n", [1.234, 5]),
        ('x,y\n"0,19","-2,5E-05"\n', [0.19, -2.5e-05]),
        ("x\ty\n0,19\t1,234\n", [0.19, 1.234]),
    ],
)
def test_decimal_commas(tmp_path, text, values):
    (tmp_path / "t.csv").write_text(text)
    lines = read_lines(tmp_path / "t.csv")
    assert [lines.number(cell) for cell in list(lines)[1][1]] == values


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x;y\n0,19;0.5\n", "both '0,19' and '0.5'"),
        ('x,y\n"1,234",5\n', "'1,234', a thousand and more or a decimal fraction"),
        ("x\ty\n1,234\t5\n", "'1,234', a thousand and more"),
        ("x;y\n1.234;5\n", "'1.234', a thousand and more"),
        ("x;y\n1.234,5;5\n", "'1.234,5' is no number"),
        ("x,y\n1_0,5\n", "'1_0' is no number"),
    ],
)
def test_numbers_that_could_be_two_are_refused(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text)
    lines = read_lines(tmp_path / "t.csv")
    with pytest.raises(ValueError, match=message):
        lines.number(list(lines)[1][1][0])
