# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import os
import pathlib
import typing as t

import pytest
import requests_judge
from pve_lab import ENVIRONMENT, ROLE, PveLab

_LABS = pytest.StashKey[list[PveLab]]()
_OUTCOMES = pytest.StashKey[dict[str, tuple[str, str]]]()
_SESSION = pytest.StashKey[requests_judge.RequestsJudge]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "sends_bad_requests(why): requests that the API refuses are sent on purpose")
    config.addinivalue_line("markers", "needs_played(why): a person's own Proxmox VE has nothing of the kind")
    config.stash[_SESSION] = requests_judge.RequestsJudge()
    config.stash[_OUTCOMES] = {}


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> t.Generator[None, t.Any, None]:
    """On a person's own Proxmox VE: a test that failed because something was not sent there says nothing."""
    outcome = yield
    report = outcome.get_result()
    beyond = "; ".join(filter(None, (lab.beyond for lab in item.stash.get(_LABS, []))))
    if report.failed and call.when in ("setup", "call") and beyond:
        report.outcome = "skipped"
        report.longrepr = (str(item.path), 0, f"Skipped: needs the played Proxmox VE: {beyond}")
    if call.when == "call" or report.outcome != "passed":
        item.config.stash[_OUTCOMES][item.nodeid] = (report.outcome, report.longreprtext)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: t.Any, error: object) -> None:
    """What a worker has seen."""
    seen = getattr(node, "workeroutput", {}).get("proxmox")
    if seen:
        node.config.stash[_SESSION].add(seen["judge"])
        node.config.stash[_OUTCOMES].update({name: tuple(one) for name, one in seen["outcomes"].items()})


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    judge = session.config.stash[_SESSION]
    if hasattr(session.config, "workeroutput"):
        seen = {"judge": judge.as_data(), "outcomes": dict(session.config.stash[_OUTCOMES])}
        session.config.workeroutput["proxmox"] = seen
        return
    if exitstatus == pytest.ExitCode.INTERRUPTED:
        return  # half of the tests are no judgement
    if os.environ.get("TESTS_AGAIN"):  # scripts/run_tests.py: the whole run has written its judgement
        return
    if ENVIRONMENT.get("PVE"):
        requests_judge.of_a_real_one(ENVIRONMENT["PVE"], session.config.stash[_OUTCOMES]).write()
    elif judge.cases:
        judge.judgement().write()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Before anything is made on a person's own Proxmox VE."""
    mark = item.get_closest_marker("needs_played")
    if mark and ENVIRONMENT.get("PVE"):
        pytest.skip(f"needs the played Proxmox VE: {mark.args[0]}")


@pytest.fixture(autouse=True)
def judged_requests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> t.Iterator[None]:
    """Every request to every lab of this test is judged (``requests_judge``); bad ones fail the test at its end."""
    for name in [name for name in os.environ if name.startswith("PROXMOX_") or name.endswith("_CA_BUNDLE")]:
        monkeypatch.delenv(name)
    judge = request.config.stash[_SESSION]
    mark = request.node.get_closest_marker("sends_bad_requests")
    case = judge.begin(request.node.name, str(mark.args[0]) if mark else "")

    labs: list[PveLab] = []
    request.node.stash[_LABS] = labs

    def of_lab(lab: PveLab) -> t.Callable[[t.Any], None]:
        case.fewer_rights |= not set(ROLE) <= set(lab.rights)
        return lambda seen: judge.witness(case, seen)

    monkeypatch.setattr(PveLab, "witness", of_lab)
    started = PveLab.__enter__

    def enter(lab: PveLab) -> PveLab:
        labs.append(lab)
        return started(lab)

    monkeypatch.setattr(PveLab, "__enter__", enter)
    yield
    if case.problems and not case.on_purpose:
        why = "requests that a Proxmox VE does not know or that the documented roles do not allow"
        pytest.fail(f"{why} (see requests_judge.py):\n" + "\n".join(sorted(set(case.problems))), pytrace=False)


@pytest.fixture
def pve(tmp_path: pathlib.Path) -> t.Iterator[PveLab]:
    with PveLab(tmp_path) as lab:
        yield lab
