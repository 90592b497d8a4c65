"""The ids that a full run has met are told from all others, whatever an id looks like."""

from __future__ import annotations

from hypothesis import given, strategies as st

from app.sync.met_ids import MetIds

_IDS = st.one_of(
    st.integers(0, 2**70).map(str),
    st.integers(0, 400).map(str),
    st.text(max_size=3),
    st.sampled_from(["007", "7", "٧", "-7", "+7", " 7", "7 ", "7_0", "70", "0", ""]),
)


@given(st.lists(st.tuples(st.lists(_IDS), st.lists(_IDS))))
def test_what_was_met_is_in_it_and_nothing_else(steps: list[tuple[list[str], list[str]]]) -> None:
    met, plain = MetIds(), set[str]()
    for added, asked in steps:
        met.update(added)
        plain |= {*added}
        assert [id in met for id in (*asked, *plain)] == [id in plain for id in (*asked, *plain)]
