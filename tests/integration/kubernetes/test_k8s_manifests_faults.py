# SPDX-License-Identifier: GPL-3.0-or-later
"""``manifests`` with an inventory behind a server or network that fails at each of its requests: done after all, or said in
words with what was done; a second run goes on until all of it is as wanted."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from k8s_applied import Object, config, nothing
from k8s_faults import LASTING, PASSING, Fault, Handler, Relay, cut_after, cut_before, status

CLIENT = "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client"
SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "pw"},
    "stringData": {"password": "hunter2-the-third"},
}
#: As it is at first, and as it is to be: one object stays, one changes, two come, one goes.
BEFORE = [config("stays", a="1"), config("changes", a="1"), config("goes", a="1")]
AFTER = [config("stays", a="1"), config("changes", a="2"), config("comes", a="1"), SECRET]


class Task(t.NamedTuple):
    """A run of the module from one state to another."""

    before: list[Object]
    after: list[Object]
    params: Object


TASKS: dict[str, Task] = {
    "present": Task(BEFORE, AFTER, {}),
    "absent": Task(AFTER, [], {"state": "absent"}),
}


class Case:
    """One task, always from the same state on; through the relay, but for what prepares and looks."""

    def __init__(self, lab: t.Any, relay: Relay, task: Task) -> None:
        self.lab, self.relay, self.task = lab, relay, task
        self.client = lab.client
        self.place = {"inventory": f"{lab.namespace}/media", "prune": True}
        self.prepare()
        done = self.go()
        assert "msg" not in done, done["msg"]
        #: What the task changes when all goes well, by the name of the object; and which of its requests write.
        self.changes = {change["resource"]: change for change in done["changes"]}
        self.writes = [line[:4] != "GET " and "dryRun=All" not in line for line in relay.asked]
        self.wanted = self.there()

    def prepare(self) -> None:
        """Back to the state before."""
        self.relay.breaks(None)
        done = self.lab.run(self.task.before, **self.place)
        assert "msg" not in done, done["msg"]
        self.first = self.there()

    def go(self) -> Object:
        params = {"kubeconfig": str(self.relay.kubeconfig), "api_timeout": 1.0, **self.place, **self.task.params}
        done: Object = self.lab.run(self.task.after, **params)
        assert "hunter2" not in str(done)
        assert "relayed-token" not in str(done)
        return done

    def there(self) -> dict[str, t.Any]:
        """What the task is about, as it is: the data of each object, and of the record."""
        found = {}
        for kind in ("ConfigMap", "Secret"):
            resource = self.client.resource("v1", kind)
            for live in self.client.list(resource, self.lab.namespace):
                name = live["metadata"]["name"]
                label = "Inventory" if name == "homelab-inventory-media" else kind
                found["/".join((label, self.lab.namespace, name.removeprefix("homelab-inventory-")))] = live.get("data")
        return {name: data for name, data in found.items() if "kube-root-ca" not in name}

    def differing(self) -> set[str]:
        """What is not as it was before."""
        now = self.there()
        return {name for name in {**now, **self.first} if now.get(name) != self.first.get(name)}

    def converges(self, reported: t.Collection[str]) -> None:
        """A second run makes the rest, and says so; a third has nothing to do."""
        self.relay.breaks(None)
        rest = self.go()
        assert "msg" not in rest, rest["msg"]
        assert self.there() == self.wanted
        assert {*reported, *(change["resource"] for change in rest["changes"])} == set(self.changes)
        assert self.go()["changes"] == []


@pytest.fixture(params=TASKS)
def case(request: pytest.FixtureRequest, lab: t.Any, tmp_path: pathlib.Path) -> t.Iterator[Case]:
    with Relay(lab.server.kubeconfig, tmp_path) as relay:
        yield Case(lab, relay, TASKS[request.param])


def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{CLIENT}.PATIENCE", 0.2)
    monkeypatch.setattr(f"{CLIENT}.INSTALL_PATIENCE", 0.2)


# -- what passes -----------------------------------------------------------------------------------------------------


def faults(case: Case, point: int) -> list[Fault]:
    """What happens to a request. Whether a read was answered before the connection ended makes no difference."""
    found = [cut_before]
    if case.writes[point]:
        found.append(cut_after)
    if point % 2:
        found.append(list(PASSING.values())[point // 2 % len(PASSING)])
    return found


def test_what_passes_at_any_request_does_not_stop_anything(case: Case) -> None:
    assert sum(case.writes) >= 4
    for point in range(len(case.writes)):
        for fault in faults(case, point):
            case.prepare()
            case.relay.breaks(fault, point, 1)
            done = case.go()
            asked = [line.split("?")[0] for line in case.relay.asked]
            assert "msg" not in done, (point, asked, done["msg"])
            assert {change["resource"]: change for change in done["changes"]} == case.changes, (point, asked)
            assert case.there() == case.wanted, (point, asked)
            assert len(asked) > len(case.writes), "it was asked again"
    nothing(case.lab, case.task.after, **case.place, **case.task.params)


# -- what lasts ------------------------------------------------------------------------------------------------------


class Lost:
    """The first request is still done, then the network is gone."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, handler: Handler) -> None:
        (cut_before if self.done else cut_after)(handler)
        self.done = True


ENDS: dict[str, tuple[t.Callable[[], Fault], str, str]] = {
    **{
        name: (lambda fault=fault: fault, kind, words)
        for name, (fault, kind, words) in LASTING.items()
        if name != "slow"
    },
    "busy for good": (lambda: status(429, "too many requests", retry_after="0"), "Throttled", "too many requests"),
    "wrong JSON for good": (lambda: PASSING["wrong JSON"], "ServerFault", "not JSON: <html>starting</html>"),
    "gone": (lambda: cut_before, "Unreachable", "Is the cluster's endpoint up"),
    "gone after one": (Lost, "Unreachable", "Is the cluster's endpoint up"),
}
#: Each request meets several of them, but not each all.
STRIDE = 4


@pytest.mark.parametrize("name", ENDS)
def test_what_lasts_is_said_with_what_was_done_and_a_second_run_goes_on(
    name: str, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch)
    make, kind, words = ENDS[name]
    for point in range(list(ENDS).index(name) % STRIDE, len(case.writes), STRIDE):
        case.prepare()
        case.relay.breaks(make(), point)
        stops(case, kind, words, exact=name != "gone after one")


def stops(case: Case, kind: str, words: str, *, exact: bool) -> None:
    failed = case.go()
    assert failed["failed"]
    assert (failed["error"]["kind"], words in failed["msg"]) == (kind, True), failed
    reported = {change["resource"]: change for change in failed["changes"]}
    differing = case.differing()
    assert reported == {resource: case.changes[resource] for resource in case.changes if resource in reported}
    # What was done and could not be heard of is not said to be done.
    assert set(reported) == differing if exact else set(reported) <= differing
    assert failed["changed"] is bool(reported)
    case.converges(differing)


def test_an_answer_that_does_not_come_ends_the_run_at_its_time(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    impatient(monkeypatch)
    fault, kind, words = LASTING["slow"]
    for point in (0, len(case.writes) - 1):
        case.prepare()
        case.relay.breaks(fault, point)
        stops(case, kind, words, exact=True)
