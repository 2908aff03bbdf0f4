# SPDX-License-Identifier: GPL-3.0-or-later
"""Waiting by watch, whatever happens to the watch."""

from __future__ import annotations

import threading
import time
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from k8s_played_watch import Api

from ansible_collections.groundwork.homelab.plugins.module_utils.errors import (
    HomelabError,
    TaskFailed,
    Unauthenticated,
    WaitTimeout,
)
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes import readiness, watches
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client import Client
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.discovery import Resource
from ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.kubeconfig import Access
from ansible_collections.groundwork.homelab.plugins.module_utils.waiting import Deadline

MAPS = Resource("v1", "ConfigMap", "configmaps", True)


@pytest.fixture
def api() -> t.Iterator[Api]:
    with Api().running() as one:
        yield one


def wants(*names: str, **more: t.Any) -> list[readiness.Want]:
    return [readiness.Want("ConfigMap", "v1", "lab", name, resource=MAPS, **more) for name in names]


def waited(api: Api, given: list[readiness.Want], seconds: float = 15.0) -> list[readiness.Outcome]:
    heard: list[str] = []
    client = Client(Access(api.url), 5.0, heard.append)
    return readiness.wait(client, given, Deadline(seconds))


def later(seconds: float, act: t.Callable[[], None]) -> None:
    timer = threading.Timer(seconds, act)
    timer.daemon = True
    timer.start()


def test_what_becomes_ready_is_noticed_at_once(api: Api) -> None:
    api.put("a", False)
    api.put("b", True)
    later(0.5, lambda: api.put("a", True))
    begun = time.monotonic()
    assert [one.reason for one in waited(api, wants("a", "b"))] == ["", ""]
    assert 0.4 < time.monotonic() - begun < 2.0
    assert (api.asked.count("list"), api.asked.count("watch")) == (1, 1)


PASSING = ("410", "HTTP 410", "HTTP 500", "HTTP 429", "500", "not JSON", "cut off", "ends", "no answer")


@pytest.mark.parametrize("fault", PASSING)
def test_a_watch_that_goes_wrong_is_begun_anew_and_nothing_is_missed(fault: str, api: Api) -> None:
    api.put("a", False)
    api.faults = [fault] * 3
    later(0.3, lambda: api.put("a", True))
    begun = time.monotonic()
    waited(api, wants("a"))
    assert time.monotonic() - begun < 5


def test_what_happens_while_nobody_watches_is_not_missed(api: Api) -> None:
    """The version is forgotten meanwhile: all is listed anew."""
    api.put("a", False)
    api.put("b", False)
    api.faults = ["cut off"]

    def act() -> None:
        api.put("a", True)
        api.delete("b")
        api.compact()
        api.put("b", True)

    later(0.02, act)
    assert len(waited(api, wants("a", "b"))) == 2


def test_an_expired_login_ends_the_wait(api: Api) -> None:
    api.put("a", False)
    api.faults = ["HTTP 401"]
    with pytest.raises(Unauthenticated, match="credentials are not, or no longer, valid"):
        waited(api, wants("a"))


@pytest.mark.parametrize("fault", ["forbidden", "redirect"])
def test_where_watches_are_not_to_be_had_it_is_asked_again_and_again(fault: str, api: Api) -> None:
    api.put("a", False)
    api.forbidden = {"watch"} if fault == "forbidden" else set()
    api.faults = ["redirect"] if fault == "redirect" else []
    later(0.7, lambda: api.put("a", True))
    begun = time.monotonic()
    waited(api, wants("a"))
    assert time.monotonic() - begun < 6
    assert 2 <= api.asked.count("list") < 12


def test_a_server_that_goes_away_is_told_with_the_reason() -> None:
    with Api().running() as api:
        api.put("a", False)
        later(0.3, api.server.shutdown)
        later(0.35, api.server.server_close)
        later(0.4, lambda: setattr(api, "closed", True))
        with pytest.raises(WaitTimeout, match=r"ConfigMap lab/a: Told.*the API server does not answer now"):
            waited(api, wants("a"), 2.5)


def test_a_server_that_comes_back_is_asked_on_where_there_are_no_watches(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client.PATIENCE", 0.1)
    api.put("a", False)
    api.forbidden = {"watch"}
    later(0.6, lambda: setattr(api, "broken", True))
    later(1.8, lambda: api.put("a", True))
    later(2.0, lambda: setattr(api, "broken", False))
    waited(api, wants("a"))


def test_a_failure_ends_the_wait_and_the_others_are_told(api: Api) -> None:
    api.put("a", False)
    api.put("b", False)

    def fail(live: dict[str, t.Any]) -> str:
        raise readiness.Failure("it is broken") if live["status"].get("broken") else readiness.Failure("later", 60.0)

    api.objects["a"]["status"]["broken"] = True
    with pytest.raises(TaskFailed, match="Could not see ConfigMap lab/a ready .*it is broken") as raised:
        waited(api, [*wants("b", checks=(fail,)), *wants("a", checks=(fail,))])
    assert [one["reason"] for one in raised.value.details["waiting"]] == ["later", "it is broken"]


def test_a_grace_begins_when_the_failure_is_first_seen(api: Api) -> None:
    api.put("a", False)

    def fail(live: dict[str, t.Any]) -> str:
        if live["status"]["conditions"][0]["status"] == "True":
            return ""
        raise readiness.Failure("refused", 0.6)

    later(0.2, lambda: api.put("a", True))
    waited(api, wants("a", checks=(fail,)))
    api.put("a", False)
    begun = time.monotonic()
    with pytest.raises(TaskFailed, match="refused"):
        waited(api, wants("a", checks=(fail,)))
    assert 0.5 < time.monotonic() - begun < 5


def test_finalizers_are_named(api: Api) -> None:
    api.put("a", None, finalizers=["example.com/held"], deletionTimestamp="2026-01-01T00:00:00Z")
    with pytest.raises(WaitTimeout, match=r"see the deletion within 0\.3 s .*held by example\.com/held"):
        readiness.wait_until_gone(Client(Access(api.url), 5.0), [(MAPS, "lab", "a")], Deadline(0.3))
    later(0.2, lambda: api.delete("a"))
    readiness.wait_until_gone(Client(Access(api.url), 5.0), [(MAPS, "lab", "a")], Deadline(5))


def test_no_thread_and_no_connection_is_left(api: Api) -> None:
    api.put("a", False)
    with pytest.raises(WaitTimeout):
        waited(api, wants("a"), 0.3)
    end = time.monotonic() + 3
    while time.monotonic() < end and _watching():
        time.sleep(0.02)
    assert _watching() == []


def _watching() -> list[threading.Thread]:
    return [one for one in threading.enumerate() if isinstance(one, watches.Watch)]


NAMES = ("a", "b", "c")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(NAMES), st.booleans()),
        st.tuples(st.just("delete"), st.sampled_from(NAMES), st.none()),
        st.tuples(st.just("fault"), st.sampled_from(PASSING), st.none()),
        st.tuples(st.just("compact"), st.none(), st.none()),
    ),
    max_size=12,
)


@settings(max_examples=25)
@given(steps=STEPS, pause=st.sampled_from([0.0, 0.01, 0.03]))
def test_whatever_happens_a_wait_ends_when_all_are_ready_and_not_before(steps: t.Any, pause: float) -> None:
    """Each is ready only at the end; before it every state but that one passes by."""
    with Api().running() as api:
        ended = threading.Event()

        def play() -> None:
            for what, name, ready in steps:
                time.sleep(pause)
                if what == "put":
                    api.put(name, False if name == "c" else ready)
                elif what == "delete":
                    api.delete(name)
                elif what == "fault":
                    api.faults.append(name)
                else:
                    api.compact()
            for name in NAMES[:2]:
                api.put(name, True)
            time.sleep(pause)
            ended.set()
            api.put("c", True)

        thread = threading.Thread(target=play, daemon=True)
        thread.start()
        outcomes = waited(api, wants(*NAMES), 20.0)
        assert ended.is_set() and [one.reason for one in outcomes] == [""] * 3
        thread.join(5)


def test_a_server_that_is_not_there_is_said_at_once() -> None:
    client = Client(Access("http://127.0.0.1:9"), 1.0)
    begun = time.monotonic()
    with pytest.raises(HomelabError, match="Is the cluster's endpoint up"):
        readiness.wait(client, wants("a"), Deadline(60))
    assert time.monotonic() - begun < 8
