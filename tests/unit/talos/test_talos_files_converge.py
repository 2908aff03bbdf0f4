# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of the Talos room, from any state that they were in to any that is wanted: predicted, made, and then nothing."""

from __future__ import annotations

import datetime as dt
import pathlib
import typing as t

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from talos_room import Outcome, options, run

from ansible_collections.groundwork.homelab.plugins.module_utils import private_files
from ansible_collections.groundwork.homelab.plugins.module_utils.talos import (
    config_files,
    documents,
    pki,
    secrets_bundle,
    talosconfig,
)

Json = dict[str, t.Any]
DAY = dt.timedelta(days=1)


def files(folder: pathlib.Path) -> dict[str, tuple[bytes, int, int]]:
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mode, path.stat().st_ino) for path in found
    }


def converge(folder: pathlib.Path, module: str, params: Json) -> Outcome:
    """Check mode writes nothing and says what is then made, which are these files and no others; a second run writes
    nothing."""
    before = files(folder)
    predicted = run(module, params, check=True)
    assert not predicted.get("failed") and files(folder) == before, predicted
    made = run(module, params)
    assert made["changes"] == predicted["changes"] and made.get("diff") == predicted.get("diff"), made
    after = files(folder)
    written = {name for name in after if after[name] != before.get(name)}
    assert written == {str(pathlib.Path(named(one)).relative_to(folder)) for one in made["changes"]}
    assert made["changed"] == bool(written) and not set(before) - set(after)
    assert {mode & 0o777 for name, (_, mode, _) in after.items() if name in written} <= {0o600}
    again = run(module, params)
    assert again["changes"] == [] and files(folder) == after, again
    return made


def named(change: Json) -> str:
    """The path in ``talos-config-file//home/…``."""
    return t.cast(str, change["resource"].partition("/")[2])


# -- talosconfig: what is done to a good one, and whether it stays
TALOSCONFIGS = ["absent", "good", "reformatted", "nonsense", "endpoint", "name", "authority", "ends soon", "ends later"]


def talosconfig_in(state: str, bundle: secrets_bundle.Bundle, endpoints: tuple[str, ...]) -> str | None:
    authority = bundle.authority("os")
    days = {"ends soon": 29, "ends later": 31}.get(state, 365)
    client = pki.client_certificate(authority, ["os:admin"], lifetime=days * DAY)
    name = "other" if state == "name" else "lab"
    endpoints = ("192.0.2.9",) if state == "endpoint" else endpoints
    ca = pki.new_ca("talos", "ed25519").crt if state == "authority" else authority.crt
    text = talosconfig.render(talosconfig.Context(name, endpoints, ca, client))
    wrong = {"absent": None, "nonsense": "a: [", "reformatted": f"# mine\n{yaml.safe_dump(yaml.safe_load(text))}"}
    return wrong.get(state, text)


def put(path: pathlib.Path, text: str | None, mode: int) -> None:
    if text is not None:
        private_files.replace(path, text)
        path.chmod(mode)


MODE = st.sampled_from([0o600, 0o644])


@settings(max_examples=20, deadline=None)
@given(there=st.booleans(), state=st.sampled_from(TALOSCONFIGS), mode=MODE)
def test_secrets_and_their_talosconfig(
    tmp_path_factory: pytest.TempPathFactory, bundle: secrets_bundle.Bundle, there: bool, state: str, mode: int
) -> None:
    folder = tmp_path_factory.mktemp("secrets")
    path, dest = folder / "talos-secrets.yaml", folder / "talosconfig"
    put(path, secrets_bundle.dump(bundle) if there else None, 0o600)
    text = talosconfig_in(state, bundle, ("10.77.0.11",))
    put(dest, text, mode)
    source = tmp_path_factory.mktemp("source") / "secrets.yaml"
    put(source, secrets_bundle.dump(bundle), 0o600)
    asked = {
        "path": str(path),
        "import_from": str(source),
        "talosconfig_dest": str(dest),
        "cluster_name": "lab",
        "endpoints": ["10.77.0.11"],
    }
    made = converge(folder, "talos_secrets", asked)
    stays = state in ("good", "reformatted", "ends later")
    expected = [] if there else [(path, "create")]
    if text is None:
        expected.append((dest, "create"))
    elif not stays or mode != 0o600:
        expected.append((dest, "update"))
    assert [(pathlib.Path(named(one)), one["action"]) for one in made["changes"]] == expected
    assert secrets_bundle.load(path).data == bundle.data
    assert (dest.read_text() == text) == stays
    context = talosconfig.load(dest, None)
    assert (context.name, context.endpoints) == ("lab", ("10.77.0.11",))
    assert pki.issued_by(context.client.crt, secrets_bundle.load(path).authority("os").crt)


#: What is wanted of the configs.
PATCH = st.fixed_dictionaries(
    {},
    optional={
        "sysctls": st.dictionaries(st.sampled_from(["vm.nr_hugepages", "vm.swappiness"]), st.sampled_from(["1", "8"])),
        "nodeLabels": st.dictionaries(st.sampled_from(["zone", "example.com/rack"]), st.sampled_from(["", "a"])),
        "env": st.dictionaries(st.just("LAB"), st.sampled_from(["1", "no"])),
    },
)
#: What has become of a file since it was written.
DONE = st.sampled_from(["nothing", "comment", "removed", "nonsense", "another field"])


@settings(max_examples=12, deadline=None)
@given(current=PATCH, desired=PATCH, done=DONE, mode=MODE, state=st.sampled_from(["good", "absent", "ends soon"]))
def test_configs_as_files(
    tmp_path_factory: pytest.TempPathFactory,
    bundle: secrets_bundle.Bundle,
    current: Json,
    desired: Json,
    done: str,
    mode: int,
    state: str,
) -> None:
    folder = tmp_path_factory.mktemp("configs")
    path = folder / "secrets.yaml"
    put(path, secrets_bundle.dump(bundle), 0o600)
    kept, talos = folder / "made" / "cp1.yaml", folder / "talosconfig"

    def asked(machine: Json) -> Json:
        more = {"patches": [{"machine": machine}]} if machine else {}
        return options(secrets_path=str(path), dest=str(kept.parent), **more)

    assert not run("talos_config", asked(current)).get("failed")
    _do(done, kept, mode)
    put(talos, talosconfig_in(state, bundle, ("10.77.0.11",)), 0o600)
    made = converge(folder, "talos_config", {**asked(desired), "talosconfig_dest": str(talos)})
    if (current, done, mode, state) == (desired, "nothing", 0o600, "good"):
        assert made["changes"] == []
    if current == desired and done == "comment":
        assert kept.read_text().startswith("# mine\n")
    for name in ("cp1", "w1"):
        machine = documents.parse((kept.parent / f"{name}.yaml").read_text())[0]["machine"]
        assert all(machine[field].items() >= value.items() for field, value in desired.items() if value)
    assert config_files.talosconfig.load(talos, None).name == "lab"


def _do(done: str, path: pathlib.Path, mode: int) -> None:
    text = path.read_text()
    changed: dict[str, str] = {
        "comment": f"# mine\n{text}",
        "nonsense": "a: [",
        "another field": text.replace("persist: true", "persist: false"),
    }
    if done == "removed":
        path.unlink()
        return
    if done in changed:
        assert changed[done] != text
        path.write_text(changed[done])
    path.chmod(mode)
