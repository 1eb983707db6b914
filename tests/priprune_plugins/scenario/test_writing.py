from hypothesis import given
from hypothesis import strategies as st

from priprune_plugins.scenario.writing import dump_yaml
from priprune_plugins.scenario.yaml_reader import parse_yaml

PRINTABLE = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), max_size=20)
TRAPS = st.sampled_from(
    ["010", "no", "1e-3", ".5", "null", "~", "", "1:30", "true", ".nan", "a: b", "- x", "# y", "1_0"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(SCALARS | PRINTABLE | TRAPS, lambda inner: st.lists(inner, max_size=4), max_leaves=8)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,10}", fullmatch=True), VALUES, max_size=5))
def test_what_is_written_reads_back_with_its_types(document: dict[str, object]) -> None:
    again = parse_yaml(dump_yaml(document), "f").plain() or {}
    assert again == document and repr(again) == repr(document)
