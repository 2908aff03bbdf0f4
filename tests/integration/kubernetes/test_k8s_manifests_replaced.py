# SPDX-License-Identifier: GPL-3.0-or-later
"""A namespace, or a definition, that is being deleted takes along what is in it: a run that makes it anew makes that anew."""

from __future__ import annotations

import copy
import threading
import time
import typing as t

from k8s_applied import Object, both, config, definition, nothing, told

HOLD = "example.com/hold"
GROUP = "replaced.example.com"


def held(one: Object) -> Object:
    return {**one, "metadata": {**one["metadata"], "finalizers": [HOLD]}}


def thing(name: str) -> Object:
    return {"apiVersion": f"{GROUP}/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"a": 1}}


class Going:
    """Something whose deletion waits for one object in it, until that is let go."""

    def __init__(self, lab: t.Any, path: str, holder: str) -> None:
        self.lab, self.holder = lab, holder
        lab.act("DELETE", path, None)
        for _turn in range(100):
            if "deletionTimestamp" in lab.client.transport.send("GET", path, "look").body["metadata"]:
                return
            time.sleep(0.1)
        raise AssertionError("it is not being deleted")

    def let_go(self) -> None:
        self.lab.act("PATCH", self.holder, {"metadata": {"finalizers": None}})

    def run(self, objects: list[Object], **params: t.Any) -> tuple[Object, Object]:
        """What check mode says while it is going, and what a run does that sees it go."""
        predicted = self.lab.run(copy.deepcopy(objects), check=True, **params)
        later = threading.Timer(1.0, self.let_go)
        later.start()
        try:
            return predicted, self.lab.run(copy.deepcopy(objects), **params)
        finally:
            later.join()


def test_what_goes_with_its_namespace_is_made_anew(lab: t.Any) -> None:
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": lab.namespace}}
    # The namespace's controller deletes what is in it: both are held, so that both are there at the plan.
    kept = held(config("kept", a="1"))
    record = {"inventory": f"{lab.namespace}/set", "prune": True}
    both(lab, [space, kept, config("second", a="1")], **record)
    path = f"/api/v1/namespaces/{lab.namespace}"
    going = Going(lab, path, f"{path}/configmaps/kept")
    predicted, done = going.run([space, config("kept", a="1"), config("second", a="1")], **record)
    assert "msg" not in predicted, predicted["msg"]
    assert "msg" not in done, done["msg"]
    assert told(predicted) == told(done)
    names = {("create", f"{kind}/{name}") for kind, name in (("ConfigMap", "kept"), ("ConfigMap", "second"))}
    assert names < set(told(done))
    for name in ("kept", "second", "homelab-inventory-set"):
        assert lab.live("v1", "ConfigMap", name) is not None, name
    nothing(lab, [space, config("kept", a="1"), config("second", a="1")], **record)


def test_what_goes_with_its_definition_is_made_anew(lab: t.Any) -> None:
    brings = definition(GROUP, "v1")
    both(lab, [brings, held(thing("kept"))])
    path = f"/apis/{GROUP}/v1/namespaces/{lab.namespace}/things/kept"
    going = Going(lab, f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/things.{GROUP}", path)
    predicted, done = going.run([brings, thing("kept"), thing("new")])
    assert "msg" not in predicted, predicted["msg"]
    assert "msg" not in done, done["msg"]
    assert told(predicted) == told(done)
    assert {("create", "Thing/kept"), ("create", "Thing/new")} < set(told(done))
    assert all(lab.live(f"{GROUP}/v1", "Thing", name) for name in ("kept", "new"))
    nothing(lab, [brings, thing("kept"), thing("new")])
    lab.run([brings], state="absent")
