# SPDX-License-Identifier: GPL-3.0-or-later
"""``ready``, ``gateway`` and ``gateway_route`` behind a server or network that fails at each of their requests: done after all,
or said in words, with what was done; a second run goes on. What goes wrong with watches is in the unit tests."""

from __future__ import annotations

import pathlib
import typing as t

import pytest
from addon_lab import conditions, named, report
from k8s_faults import LASTING, PASSING, Relay
from test_k8s_gateways import a_route, listens
from test_k8s_gateways import run as run_gateway
from test_k8s_ready import run as run_ready

pytestmark = pytest.mark.usefixtures("gateway_api", "addons")

Object = dict[str, t.Any]
Go = t.Callable[..., Object]


def ready(lab: t.Any, **more: t.Any) -> Object:
    return run_ready(lab, [{"kind": "Certificate", "name": "a"}], **more)


def gateway(lab: t.Any, **more: t.Any) -> Object:
    return run_gateway(lab, "gateways", listens(), wait=False, **more)


def gateway_route(lab: t.Any, **more: t.Any) -> Object:
    return run_gateway(lab, "routes", a_route(), wait=False, **more)


#: What is run, how many requests that is when all goes well.
CASES: dict[str, tuple[Go, int]] = {"ready": (ready, 2), "gateway": (gateway, 4), "gateway_route": (gateway_route, 4)}
POINTS = [(name, point) for name, (_, requests) in CASES.items() for point in range(requests)]


@pytest.fixture
def relay(lab: t.Any, tmp_path: pathlib.Path) -> t.Iterator[Relay]:
    assert "msg" not in lab.run([named("Certificate", "a")])
    report(lab, "Certificate", "a", conditions(("Ready", "True", "Ready")))
    with Relay(lab.server.kubeconfig, tmp_path) as one:
        yield one


def through(lab: t.Any, relay: Relay, name: str) -> Object:
    return CASES[name][0](lab, kubeconfig=str(relay.kubeconfig), api_timeout=1.0)


@pytest.mark.parametrize(("name", "point"), POINTS)
def test_what_passes_does_not_stop_anything(name: str, point: int, lab: t.Any, relay: Relay) -> None:
    fault = list(PASSING)[point % len(PASSING)]
    relay.breaks(PASSING[fault], point, 1)
    done = through(lab, relay, name)
    assert "msg" not in done, (fault, done)
    assert len(relay.asked) == CASES[name][1] + 1, relay.asked
    assert not through(lab, relay, name)["changed"]


@pytest.mark.parametrize("fault", LASTING)
@pytest.mark.parametrize("name", CASES)
def test_what_lasts_is_said_and_a_second_run_goes_on(
    name: str, fault: str, lab: t.Any, relay: Relay, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = "ansible_collections.groundwork.homelab.plugins.module_utils.kubernetes.client"
    monkeypatch.setattr(f"{client}.PATIENCE", 0.3)
    broken, kind, words = LASTING[fault]
    for point in (0, CASES[name][1] - 1):
        relay.breaks(broken, point)
        failed = through(lab, relay, name)
        assert failed["failed"] and failed["error"]["kind"] == kind, failed
        assert words in failed["msg"]
        assert "relayed-token" not in str(failed)
        assert failed["changes"] == [], "the last request is the one that would have changed something"
    relay.breaks(None)
    done = through(lab, relay, name)
    assert "msg" not in done, done
    assert done["changed"] is (name != "ready")
