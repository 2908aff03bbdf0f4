# SPDX-License-Identifier: GPL-3.0-or-later
"""The judges of the secrets room: age, kubeseal and sops themselves, built when first asked for.

Small programs that answer questions (``Oracle``) for thousands of cases, and the programs that people type.
"""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import sys
import tempfile
import zipfile

HERE = pathlib.Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from oracle import version

from simlab.binaries import Program, cache_directory, downloaded

AGE_ORACLE = Program("age-oracle", HERE / "age_oracle", packages=145)
AGE = Program("age", HERE / "age_oracle", "filippo.io/age/cmd/age", packages=170)
AGE_KEYGEN = Program("age-keygen", HERE / "age_oracle", "filippo.io/age/cmd/age-keygen", packages=150)
AGE_VERSION = version(HERE / "age_oracle", "filippo.io/age")
VECTORS = version(HERE / "age_oracle", "c2sp.org/CCTV/age")

SEALED_ORACLE = Program("sealed-oracle", HERE / "sealed_oracle", packages=375)
SEALED_VERSION = version(HERE / "sealed_oracle", "github.com/bitnami/sealed-secrets")

SOPS_VERSION = "v3.13.3"
_SOPS_MODULE, _SOPS_SUM = "github.com/getsops/sops/v3", "h1:saYczbT88kD1saNChe1cAbFQe5mrRhTIfEw3TaEcmK0="
_OWN = HERE / "sops_oracle"


def sops_oracle() -> Program:
    return Program("sops-oracle", _sops_sources(), "./cmd/oracle", f"-s -w -X main.judged={_digest()}", 460)


def sops() -> Program:
    """The program ``sops``, whose key services of clouds do nothing."""
    return Program("sops", _sops_sources(), "./cmd/sops", f"-s -w -X main.judged={_digest()}", 465)


def _digest() -> str:
    """Of what is put into sops's module."""
    found = hashlib.sha256()
    for path in sorted(_OWN.rglob("*.go")):
        found.update(str(path.relative_to(_OWN)).encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def _sops_sources() -> pathlib.Path:
    """The module of sops with our questions as one more command, and without the clouds.

    All packages of sops that read or write a file import those of the cloud key services, and these seven hundred
    others. Go lets nobody replace a package of a module, so it is a copy of the module in which they are replaced.
    """
    made = cache_directory() / f"sops-{SOPS_VERSION}-{_digest()}"
    if made.is_dir():
        return made
    made.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=made.parent) as folder:
        with zipfile.ZipFile(_downloaded()) as packed:
            packed.extractall(folder)
        copy = pathlib.Path(folder) / f"{_SOPS_MODULE}@{SOPS_VERSION}"
        for package in sorted(path for path in (_OWN / "without_clouds").iterdir() if path.is_dir()):
            shutil.rmtree(copy / package.name)
            shutil.copytree(package, copy / package.name)
        (copy / "cmd/oracle").mkdir()
        shutil.copy(_OWN / "main.go", copy / "cmd/oracle/main.go")
        try:
            copy.rename(made)
        except OSError:  # somebody else was first
            if not made.is_dir():
                raise
    return made


def _downloaded() -> pathlib.Path:
    """The module as it is published, of the sum that it must have."""
    return pathlib.Path(downloaded(f"{_SOPS_MODULE}@{SOPS_VERSION}", _SOPS_SUM)["Zip"])
