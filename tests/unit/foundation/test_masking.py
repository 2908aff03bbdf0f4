# SPDX-License-Identifier: GPL-3.0-or-later
"""Results are masked as Ansible masks them, whatever is in them."""

from __future__ import annotations

import time
import typing as t

import pytest
from ansible.module_utils.common.parameters import remove_values
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.groundwork.homelab.plugins.plugin_utils.masking import masked

TEXTS = st.text(alphabet="ab1*\0ä", min_size=1, max_size=4)
LEAVES = st.one_of(
    TEXTS, st.just(""), st.integers(-2, 211), st.floats(0, 2), st.booleans(), st.none(), TEXTS.map(str.encode)
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner) | st.tuples(inner) | st.dictionaries(TEXTS, inner), max_leaves=12
)


@given(VALUES, st.sets(TEXTS, max_size=5))
def test_it_is_what_ansible_would_return(value: t.Any, secrets: set[str]) -> None:
    assert masked(value, secrets) == remove_values(value, secrets)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("the password is hunter22", "the password is ********"),
        (
            {"hunter22": ["hunter22", 4711, b"x hunter22"]},
            {"hunter22": ["VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"] * 2 + [b"x ********"]},
        ),
        ({"a": {"b": ("no", True, None)}}, {"a": {"b": ["no", True, None]}}),
    ],
    ids=["text", "names-stay-values-go", "nothing-to-hide"],
)
def test_what_is_hidden(value: t.Any, expected: t.Any) -> None:
    assert masked(value, {"hunter22", "4711"}) == expected


def test_many_secrets_in_a_long_result_take_no_time() -> None:
    secrets = {f"secret-{number:032}" for number in range(1000)}
    entries = [
        {"name": f"app-{number}", "value": secret, "path": f"apps/{number}"} for number, secret in enumerate(secrets)
    ]
    started = time.process_time()
    told = masked({"entries": entries, "lines": [f"line {number}" for number in range(5000)]}, secrets)
    assert time.process_time() - started < 2, "a search of every text for every secret takes some 4 s"
    assert {entry["value"] for entry in told["entries"]} == {"VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"}
