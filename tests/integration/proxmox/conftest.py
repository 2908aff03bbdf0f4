# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pathlib
import typing as t

import pytest
import requests_judge
from pve_lab import ROLE, PveLab

_SESSION = pytest.StashKey[requests_judge.RequestsJudge]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sends_bad_requests(why): requests that the API refuses are sent on purpose")
    config.stash[_SESSION] = requests_judge.RequestsJudge()


def pytest_sessionfinish(session: pytest.Session) -> None:
    judge = session.config.stash[_SESSION]
    if judge.cases:
        judge.judgement().write()


@pytest.fixture(autouse=True)
def judged_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    """Every request to every lab of this test is judged (``requests_judge``); bad ones fail the test at its end."""
    judge = request.config.stash[_SESSION]
    mark = request.node.get_closest_marker("sends_bad_requests")
    case = judge.begin(request.node.name, str(mark.args[0]) if mark else "")

    def of_lab(lab: PveLab) -> t.Callable[[t.Any], None]:
        case.fewer_rights |= not set(ROLE) <= set(lab.rights)
        return lambda seen: judge.witness(case, seen)

    monkeypatch.setattr(PveLab, "witness", of_lab)
    yield
    if case.problems and not case.on_purpose:
        why = "requests that a Proxmox VE does not know or that the documented roles do not allow"
        pytest.fail(f"{why} (see requests_judge.py):\n" + "\n".join(sorted(set(case.problems))), pytrace=False)


@pytest.fixture
def pve(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[PveLab]:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "PROXMOX_PASSWORD", "PROXMOX_TOKEN_SECRET", "PROXMOX_HOST"):
        monkeypatch.delenv(name, raising=False)
    with PveLab(tmp_path) as lab:
        yield lab
