# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The registries: the same image store, served without authentication and behind TLS with basic auth."""

from __future__ import annotations

import base64
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from . import paths, pki
from .node import Node, Part, port_open, wait_for

USER = "testbed"
DATA = paths.STATE / "registry"
PLAIN = f"{paths.REGISTRY}:{paths.REGISTRY_PORT}"
AUTH = f"{paths.REGISTRY_AUTH}:{paths.REGISTRY_PORT}"


@dataclass(frozen=True)
class Facts:
    """Addresses and credentials of the registries, for tests."""

    plain: str = PLAIN  # http, no auth
    auth: str = AUTH  # https by the bed's registry CA, basic auth
    user: str = USER
    ca: Path = pki.REGISTRY_CA  # on the hosts: /opt/testbed/registry-ca.pem

    @property
    def password(self) -> str:
        return password()

    @property
    def docker_config(self) -> str:
        """The content that `docker login` would write to ~/.docker/config.json."""
        token = base64.b64encode(f"{USER}:{password()}".encode()).decode()
        return json.dumps({"auths": {AUTH: {"auth": token}}})


def password() -> str:
    return pki.secret("registry-password")


def _config(address: str, protected: bool) -> str:
    http: dict[str, object] = {"addr": address, "secret": pki.secret("registry-http-secret")}
    config: dict[str, object] = {
        "version": 0.1,
        "log": {"level": "info", "accesslog": {"disabled": False}},
        "storage": {"filesystem": {"rootdirectory": str(DATA)}, "delete": {"enabled": True}},
        "http": http,
    }
    if protected:
        http["tls"] = {"certificate": str(pki.DIRECTORY / "registry.pem"), "key": str(pki.DIRECTORY / "registry.key")}
        pki.secret("htpasswd", f"{USER}:{pki.bcrypt(password())}\n")
        config["auth"] = {"htpasswd": {"realm": "testbed", "path": str(paths.STATE / "secrets" / "htpasswd")}}
    return json.dumps(config)  # JSON is valid YAML


def parts() -> list[Part]:
    made = []
    for name, address, protected in (("registry", PLAIN, False), ("registry-auth", AUTH, True)):
        config = _config(address, protected)
        path = Path(paths.STATE / "secrets" / f"{name}.yml")
        path.touch(mode=0o600)
        path.write_text(config)
        program = str(shutil.which("docker-registry", path="/usr/bin:/usr/local/bin"))
        made.append(
            Part(name, [program, "serve", str(path)], reads=[config, (pki.DIRECTORY / "registry.pem").read_text()])
        )
    return made


def wait(cloud: Node) -> None:
    for name, address in (("registry", paths.REGISTRY), ("registry-auth", paths.REGISTRY_AUTH)):
        wait_for(name, lambda a=address: port_open(a, paths.REGISTRY_PORT), 15, cloud.log(name))  # type: ignore[misc]
