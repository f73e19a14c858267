"""What the package says of the C API is what the headers say."""

import re
from pathlib import Path

import pytest

import clquant as cq
from clquant import _native, errors

HEADERS = Path(__file__).resolve().parents[2] / "include" / "clquant"


def words(text):
    return " ".join(re.sub(r"([*(),\[\]{};])", r" \1 ", text).split())


@pytest.mark.skipif(not HEADERS.exists(), reason="the headers are not here")
def test_declarations_are_those_of_the_headers():
    headers = "\n".join(path.read_text() for path in HEADERS.glob("*.h"))
    headers = re.sub(r"/\*.*?\*/", " ", headers, flags=re.S)
    headers = re.sub(r"\benum \{(.*?)\}", " ", headers, flags=re.S)
    for name, value in (("CLQ_MAX_RANK", "5"), ("CLQ_MAX_AXES", "8")):
        headers = headers.replace(f"[{name}]", f"[{value}]")
    headers = words(headers)
    for statement in re.findall(r"[^;{]+(?:\{[^}]*\}[^;]*)?;", _native.DECLARATIONS):
        statement = words(statement)
        opaque = re.fullmatch(r"typedef struct (\w+) \1 ;", statement)
        if not statement.startswith("typedef int "):
            assert (f"struct {opaque[1]} " if opaque else statement) in headers, statement


def test_every_status_has_its_exception():
    text = (HEADERS / "base.h").read_text() if HEADERS.exists() else ""
    statuses = {int(number) for number in re.findall(r"CLQ_\w+ = (\d+),", text)} - {0}
    assert not text or statuses == set(errors.BY_STATUS)
    for status, kind in errors.BY_STATUS.items():
        assert kind.status == status and issubclass(kind, cq.Error)


def test_log_levels():
    with pytest.raises(cq.UsageError):
        cq.set_log_level("loud")
    cq.set_log_level("warning")
