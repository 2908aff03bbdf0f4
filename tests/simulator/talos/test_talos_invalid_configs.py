# SPDX-License-Identifier: GPL-3.0-or-later
"""The 50 recorded configurations: the same code and the same text as a real node, running and in maintenance."""

from __future__ import annotations

import asyncio
import typing as t

import pytest
import recorded
from grpclib import Status
from talos_support import Lab, config, text

from simlab.talos import apply
from simlab.talos.refusals import Refusal
from simlab.talos.runtime import Runtime

CASES = recorded.invalid_cases()


def answer(lab: Lab, text: bytes, *, maintenance: bool) -> tuple[str, str]:
    """Code and message of a dry run, as the recording was made in a container."""

    async def scenario() -> tuple[str, str]:
        runtime = Runtime(lab.node("10.77.0.11", platform="container"))
        wanted = apply.Wanted(text, "AUTO", dry_run=True, timeout=None)
        try:
            await apply.apply(runtime, wanted, maintenance=maintenance)
        except Refusal as refusal:
            return Status(refusal.status).name, refusal.text
        return "OK", ""

    return asyncio.run(scenario())


@pytest.mark.parametrize("where", ["running", "maintenance"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_configuration_is_judged_as_by_a_real_node(lab: Lab, case: dict[str, t.Any], where: str) -> None:
    expected = case[where]
    code = recorded._code(expected["code"])
    assert answer(lab, recorded.text_of(case), maintenance=where == "maintenance") == (code, expected["message"])


def test_there_are_fifty() -> None:
    assert len(CASES) == 50


def test_etcd_s_old_subnet_is_advertised_and_not_listened_on(lab: Lab, secrets: dict[str, t.Any]) -> None:
    """Talos's machinery complains of it once."""
    document = config(secrets)
    document["cluster"]["etcd"]["subnet"] = "x"
    code, message = answer(lab, text(document, "n1"), maintenance=True)
    assert code == "INVALID_ARGUMENT" and 'etcd advertised subnet is not valid: "x"' in message
    assert "listen subnet" not in message
