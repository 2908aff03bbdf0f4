# SPDX-License-Identifier: GPL-3.0-or-later
"""sealed_secrets_key with drawn files and options: what check mode says is what is written, and a second run writes nothing."""

from __future__ import annotations

import datetime
import functools
import pathlib
import tempfile
import typing as t

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secrets_room import contents, run

from ansible_collections.groundwork.homelab.plugins.module_utils.plan import COMPUTED, HIDDEN
from ansible_collections.groundwork.homelab.plugins.module_utils.secrets import key_pairs, yaml_text
from ansible_collections.groundwork.homelab.plugins.module_utils.sops import age
from ansible_collections.groundwork.homelab.plugins.modules import sealed_secrets_key as module

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)
OWNER = age.Identity.generate()
#: Days since each was made, the last of which has expired. Only the first two have a name.
AGES = (3, 40, 80, 300)


@functools.cache
def pairs() -> list[key_pairs.KeyPair]:
    names = ("sealed-secrets-keyab12c", "sealed-secrets-key-1", "", "")
    return [
        key_pairs.generate(name, "vault" if name else "", 2048, 200, NOW - age * DAY)
        for name, age in zip(names, AGES, strict=True)
    ]


@functools.cache
def spare() -> list[t.Any]:
    """For those that the module makes: making keys would take most of the time."""
    return [key_pairs.generate("spare", "", 2048, 1, NOW).key for _ in range(3)]


KEYS = st.lists(st.integers(0, len(AGES) - 1), unique=True, max_size=3)
STEPS = st.fixed_dictionaries(
    {
        "src": KEYS,
        "recipients": st.sampled_from([(), (OWNER.recipient,)]),
        "namespace": st.sampled_from(["kube-system", "vault"]),
        "generate": st.booleans(),
        "rotate_after": st.sampled_from([None, 30, 60]),
        "certificate": st.booleans(),
    }
)


READ_ONCE = functools.cache(key_pairs.serialization.load_pem_private_key)


def expected(there: set[str], step: dict[str, t.Any]) -> tuple[set[str], bool] | None:
    """The fingerprints that the file has then, and whether a new key is due; nothing if there would be no key at all."""
    known = {pair.fingerprint: pair.certificate for pair in pairs()}
    whole = there | {pairs()[number].fingerprint for number in step["src"]}
    if not step["generate"]:
        return (whole, False) if whole else None
    made = [known[one].not_before for one in whole if one in known]
    fresh = any(one not in known for one in whole)
    limit = min(step["rotate_after"] or 200, 200) * DAY
    return whole, not fresh and (not made or max(made) + limit <= NOW)


def held(path: pathlib.Path) -> dict[str, str]:
    """Fingerprint -> the name of the Secret."""
    if not path.exists():
        return {}
    return {pair.fingerprint: f"{pair.namespace}/{pair.name}" for pair in key_pairs.load(path, [OWNER])}


@settings(max_examples=15)
@given(steps=st.lists(STEPS, min_size=1, max_size=3))
def test_whatever_the_keys_the_prediction_is_what_is_written_and_a_second_run_writes_nothing(
    steps: list[dict[str, t.Any]],
) -> None:
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        folder = pathlib.Path(name)
        pairs()
        made = iter(spare())
        # Checking a key takes a fifth of a second, and each is read many times.
        patch.setattr(key_pairs.serialization, "load_pem_private_key", READ_ONCE)
        patch.setattr(key_pairs.rsa, "generate_private_key", lambda *_of: next(made))
        write(folder / "age.txt", OWNER.text)
        for number, step in enumerate(steps):
            one_step(folder, number, step)


def write(path: pathlib.Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o600)


def one_step(folder: pathlib.Path, number: int, step: dict[str, t.Any]) -> None:
    path, certificates = folder / "keys.yaml", folder / "keys.crt"
    options: dict[str, t.Any] = {"path": str(path), "age_key_file": str(folder / "age.txt"), "key_size": 2048}
    options |= {key: step[key] for key in ("namespace", "generate", "rotate_after") if step[key] is not None}
    options["recipients"] = list(step["recipients"])
    if step["certificate"]:
        options["certificate_file"] = str(certificates)
    if step["src"]:
        source = folder / f"src-{number}.yaml"
        write(source, yaml_text.text_of(pairs()[one].manifest() for one in step["src"]))
        options["src"] = [str(source)]
    there = held(path)
    wanted = expected(set(there), step)
    before = contents(folder)
    predicted = run(module, True, **options)
    assert contents(folder) == before, "check mode writes nothing"
    done = run(module, **options)
    if wanted is None:
        assert "There are no keys" in predicted["msg"] and "There are no keys" in done["msg"]
        assert contents(folder) == before
        return
    assert "msg" not in done, done["msg"]
    assert done["changes"] == predicted["changes"]
    whole, new = wanted
    now = held(path)
    assert whole <= now.keys() and len(now) == len(whole) + new
    assert there.items() <= now.items(), "what is there stays as it is"
    assert len(set(now.values())) == len(now)
    created = {one["resource"]: one["after"] for one in done["changes"] if one["resource"].startswith("Secret/")}
    assert created.keys() == {f"Secret/{now[one]}" for one in now.keys() - there.keys()}
    assert all(after["private_key"] == HIDDEN for after in created.values())
    assert sum(after["fingerprint"] == COMPUTED for after in created.values()) == new
    assert sorted(done["names"]) == sorted(one.partition("/")[2] for one in now.values())
    told_otherwise = any(one["resource"].startswith("sealed-secrets-keys/") for one in done["changes"])
    encrypted = path.read_text().startswith("-----BEGIN AGE")
    assert not (created or told_otherwise) or encrypted == bool(step["recipients"])
    if step["certificate"]:
        in_file = certificates.read_text().split("-----END CERTIFICATE-----\n")[:-1]
        assert len(in_file) == len(now)
    else:
        assert before.get("keys.crt") == contents(folder).get("keys.crt")
    after = contents(folder)
    assert all(mode == 0o600 for name, (_text, mode, _when) in after.items() if name != "keys.crt")
    again = run(module, **options)
    assert (again["changes"], contents(folder)) == ([], after)
