# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: real commands, their real output, and its meaning. It stops at the first wrong result."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import textwrap
import time
from typing import NoReturn

import common
import demo_image
import demo_irsa
from testbed import Bed, BedError, hosts, registry
from testbed.images import Image
from testbed.recorder import Call

COLOUR = sys.stdout.isatty() and "NO_COLOR" not in os.environ
WIDTH = 100
# Ansible's own output, without skipped tasks.
ANSIBLE = {
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    "ANSIBLE_FORCE_COLOR": "true" if COLOUR else "false",
    "ANSIBLE_NOCOLOR": "false" if COLOUR else "true",
}
SUM = re.compile(r"([\d.]+) MB of ([\d.]+) MB missing, ([\d.]+) MB received")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


# -- output


def styled(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def title(text: str) -> None:
    print("\n" + styled(text, "1;36") + "\n" + styled("─" * WIDTH, "36"), flush=True)


def explain(text: str) -> None:
    print(textwrap.fill(" ".join(text.split()), WIDTH), flush=True)


def proved(text: str) -> None:
    print(textwrap.fill(text, WIDTH, initial_indent="✔ ", subsequent_indent="  ").replace("✔", styled("✔", "1;32"), 1))


def refuse(text: str) -> NoReturn:
    print("\n" + styled("✘ The demonstration ends here: ", "1;31") + text, flush=True)
    sys.exit(1)


def check(holds: bool, otherwise: str) -> None:
    if not holds:
        refuse(otherwise)


def megabytes(count: int) -> str:
    return f"{count / 1e6:.1f} MB"


# -- commands


def run(where: str, *command: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Show a command, run it, and show its output at once. Return the exit code and the output without colours."""
    print("\n" + styled(f"{where}$ ", "1;33") + styled(shlex.join(command), "1"), flush=True)
    shown: list[str] = []

    def show(line: str) -> None:
        if line.strip() or shown:  # without Ansible's leading empty lines
            print(styled("│ ", "2") + line, end="", flush=True)
            shown.append(line)

    argv = command if where == "controller" else ("ssh", *ssh_to(where), shlex.join(command))
    ran = common.run(*argv, env=environment, each=show)
    print(flush=True)
    return ran.returncode, re.sub(r"\x1b\[[0-9;]*m", "", "".join(shown))


def ssh_to(host: str) -> list[str]:
    return [*("-i", str(hosts.KEY)), *hosts.SSH_OPTIONS, f"root@{Bed().host(host).address}", "--"]


class Transfer:
    """A run of the playbook: its report, and its calls to S3."""

    def __init__(self, bed: Bed, image: Image) -> None:
        began = time.time()
        code, output = run(
            "controller",
            *("ansible-playbook", "daytwo.aws.image_transfer", "-i", str(bed.inventory)),
            *("-e", f"@{demo_image.VARIABLES}", "-e", f"image_transfer_images=name={image.auth_ref}"),
            environment=ANSIBLE,
        )
        check(code == 0, f"ansible-playbook ends with {code}.")
        self.changed = {host: int(changed) for host, _ok, changed, _away, _failed in RECAP.findall(output)}
        self.sums = [tuple(map(float, found)) for found in SUM.findall(output)]
        calls = [call for call in bed.recorder.calls(service="s3", bucket=demo_image.BUCKET) if call.began >= began]
        check(
            bool(calls),
            "another user of this test bed has cleared the record of S3's calls. Run the demonstration again.",
        )
        self.calls = [call for call in calls if call.key.startswith(f"{demo_image.PREFIX}/")]
        check(set(self.changed) >= set(demo_image.PRIVATE), f"the recap names {sorted(self.changed)}.")
        check(
            len(self.sums) == len(demo_image.PRIVATE), f"{len(self.sums)} reports instead of {len(demo_image.PRIVATE)}."
        )

    def of(self, client: str) -> list[Call]:
        return [call for call in self.calls if call.client == client]

    def sent(self, host: str) -> int:
        return sum(call.bytes_in for call in self.of(host))

    def received(self, host: str) -> int:
        return sum(call.bytes_out for call in self.of(host))

    def check_bytes(self, expected: int) -> None:
        """Check that the report and the S3 server's count both equal the size of the image's blobs."""
        for needed, _full, got in self.sums:
            check(
                abs(needed - expected / 1e6) < 0.06 and abs(got - expected / 1e6) < 0.06,
                f"a report has {needed} MB missing and {got} MB received, but the blobs have {megabytes(expected)}.",
            )
        for what, count in (
            ("public sent", self.sent("public")),
            *((f"{host} received", self.received(host)) for host in demo_image.PRIVATE),
        ):
            check(expected <= count <= expected * 1.02, f"S3 counted {count} bytes that {what}, not {expected}.")


def runs(bed: Bed, image: Image, expected: str) -> None:
    """Run the container on both private hosts, through Ansible and ssh."""
    code, output = run(
        "controller",
        *("ansible", "private", "-i", str(bed.inventory), "-a", f"docker run --rm --network none {image.auth_ref}"),
        environment=ANSIBLE,
    )
    check(code == 0 and output.count(expected) == len(demo_image.PRIVATE), f"the containers do not print {expected!r}.")


def main() -> None:
    began = time.monotonic()
    bed = Bed.load()
    os.environ.update(bed.env)
    v1, v2 = demo_image.into_registry(bed)
    demo_image.reset(bed, v1)
    demo_image.log_in(bed, registry.AUTH, registry.USER, registry.password())
    try:
        present(bed, v1, v2)
    finally:
        demo_image.log_out(bed)
    summary(bed, time.monotonic() - began, v1, v2)


def present(bed: Bed, v1: Image, v2: Image) -> None:
    title("Images for hosts without internet")
    explain(
        f"""This machine has three docker hosts, each in its own network. "public" reaches the registry
        {registry.AUTH} and is logged in there. "private-a" and "private-b" reach only the S3 server
        {bed.s3.endpoint}. The registry has shop:v1, {len(v1.layers)} layers, {megabytes(demo_image.size(v1))}.
        Both private hosts will run it."""
    )
    before(bed, v1)
    first(bed, v1)
    again(bed, v1)
    update(bed, v1, v2)
    bucket(v1, v2)
    refused(bed)


def before(bed: Bed, v1: Image) -> None:
    title("1  Before: a private host cannot pull")
    explain("docker tries for about 15 seconds, then fails:")
    code, output = run("private-a", "docker", "pull", v1.auth_ref)
    check(code != 0, "private-a could pull the image: it is not private.")
    check("Error response from daemon" in output, "this is not docker's error.")
    for host in demo_image.PRIVATE:
        check(not bed.host(host).docker("image", "ls", "--quiet", v1.auth_ref).stdout, f"{host} has the image already.")
    proved("This is the real error of a host that cannot reach its registry. Neither private host has the image.")


def first(bed: Bed, v1: Image) -> None:
    title("2  The transfer: from the registry through S3 to both private hosts")
    explain(
        """The host public reads each layer from the registry and uploads it to the bucket. The private hosts download
        it from there. No byte passes the controller, and no host has AWS credentials: they get signed URLs."""
    )
    transfer = Transfer(bed, v1)
    transfer.check_bytes(demo_image.size(v1))
    check(min(transfer.changed[host] for host in demo_image.PRIVATE) > 0, "a host reports that nothing changed.")
    for host in demo_image.PRIVATE:
        held = bed.host(host).docker("image", "inspect", "--format", "{{.Id}}", v1.auth_ref).stdout.strip()
        check(held == v1.config_digest, f"{host} holds {held}, not {v1.config_digest}.")
    proved(
        f"S3 counted: {megabytes(transfer.sent('public'))} came from public, once for both targets, and "
        f"{megabytes(transfer.received('private-a'))} went to each of them."
    )
    own = transfer.sent("controller") + transfer.received("controller")
    check(own < 100_000, f"S3 counted {own} bytes to and from the controller.")
    proved(f"The controller itself exchanged {own / 1e3:.1f} kB with S3.")
    proved(f"Both hosts now have the same image as the registry: config {v1.config_digest[:19]}…")
    title("3  After: it runs there")
    runs(bed, v1, "shop v1")
    proved("The container runs on both private hosts and prints its version.")


def again(bed: Bed, v1: Image) -> None:
    title("4  A second run: nothing to do")
    transfer = Transfer(bed, v1)
    check(set(transfer.changed.values()) == {0}, f"changed is {transfer.changed}.")
    check({(needed, got) for needed, _full, got in transfer.sums} == {(0.0, 0.0)}, "the report counts bytes.")
    writes = [call.operation for call in transfer.calls if call.mutating]
    check(not writes, f"S3 got the writes {writes}.")
    check(not any(transfer.received(host) for host in demo_image.PRIVATE), "S3 sent bytes to a private host.")
    proved("changed=0 on both hosts. S3 got no write and sent no byte.")


def update(bed: Bed, v1: Image, v2: Image) -> None:
    title("5  shop:v2: only the new layers are transferred")
    shared = sum(layer in v1.layers for layer in v2.layers)
    explain(
        f"{shared} of its {len(v2.layers)} layers are those of v1. The role finds them on the targets, and skips them."
    )
    transfer = Transfer(bed, v2)
    expected = demo_image.new_bytes(v2, v1)
    transfer.check_bytes(expected)
    explain("The new version runs:")
    runs(bed, v2, "shop v2")
    full = demo_image.size(v2)
    table = [
        ("", "a full copy", "transferred"),
        ("public to S3", megabytes(full), megabytes(transfer.sent("public"))),
        *((f"S3 to {host}", megabytes(full), megabytes(transfer.received(host))) for host in demo_image.PRIVATE),
    ]
    for row in table:
        print(f"  {row[0]:<20}{row[1]:>16}{row[2]:>20}")
    print()
    proved(f"v2 runs on both hosts, and {1 - expected / full:.0%} of a full copy was saved. v1 still exists, too.")
    for host in demo_image.PRIVATE:
        check(bool(bed.host(host).docker("image", "ls", "--quiet", v1.auth_ref).stdout), f"v1 is gone from {host}.")


def bucket(v1: Image, v2: Image) -> None:
    title("6  The content of the bucket")
    names: dict[str, list[str]] = {}
    for version, image in (("v1", v1), ("v2", v2)):
        for digest, name in demo_image.named(image).items():
            names.setdefault(digest, []).append(f"{name} of {version}")
    explain("The bucket has each blob once, by its digest, for all images. The next transfer finds the blobs there.")
    print()
    found = demo_image.objects()
    for digest, what in names.items():
        key = f"{demo_image.PREFIX}/blobs/sha256/{digest[7:]}"
        check(key in found, f"{key} is not in the bucket.")
        print(f"  s3://{demo_image.BUCKET}/{key[:35]}…  {found.pop(key) / 1e6:>7.3f} MB  {', '.join(what)}")
    print()
    check(not found, f"the bucket has other objects, too: {sorted(found)}")


def refused(bed: Bed) -> None:
    title("7  AccessDenied: trust or permission?")
    explain(
        """A load balancer controller logs that it may not delete a load balancer. Most people add its namespace to the
        role's trust policy. Does that help?"""
    )
    balancer = demo_irsa.prepare(bed)
    answers = ("-e", json.dumps({"access_denied_message": demo_irsa.message(balancer)}))
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    check(code == 0, f"ansible-playbook ends with {code}.")
    text = " ".join(output.split())
    check("side: permission" in text, "the playbook does not report the side permission.")
    check("does not remedy this denial" in text, "the playbook does not report the ineffective remediation.")
    check(f"with {demo_irsa.TAG}=owned" in text, "the playbook does not name the tag.")
    proved("No: STS issued the session. The role's policy requires a tag, which this load balancer does not have.")
    explain("The same message again, after the tag was added:")
    demo_irsa.tag(bed, balancer)
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    check(code == 0 and "The current policies allow it" in " ".join(output.split()), "the tag has no effect.")
    proved("IAM's policy simulator allows it now. Nothing else changed.")
    trusted(bed)


def trusted(bed: Bed) -> None:
    explain("The same controller in another namespace, cloudon, also gets AccessDenied. This is CloudTrail's event:")
    trust = demo_irsa.Trust(bed)
    check(trust.answer("cloudon") == "AccessDenied", "STS accepts cloudon before the trust policy allows it.")
    answers = ("-e", json.dumps({"access_denied_message": trust.event("cloudon")}))
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    text = " ".join(output.split())
    check(
        code == 0 and "side: trust" in text and "remediation, ready to use: binding" in text,
        "the playbook does not report the side trust.",
    )
    explain("This time the trust policy refuses. Apply the suggested binding, which only adds a service account:")
    binding = {
        "role": demo_irsa.ROLE,
        "oidc_provider_arn": trust.provider,
        "namespace": "cloudon",
        "service_accounts": [demo_irsa.CONTROLLER],
    }
    options = json.dumps({"bindings": [binding], "recheck_delay": 1})
    edit = ("ansible", "localhost", "-m", "daytwo.aws.iam_irsa_namespace", "-a", options)
    code, output = run("controller", *edit, "--diff", environment=ANSIBLE)
    check(code == 0 and "CHANGED" in output, f"ansible ends with {code}.")
    check(trust.now() == trust.expected(), "the trust policy has other changes than the new service account.")
    for namespace in ("kube-system", "cloudon"):
        check(trust.answer(namespace).endswith(f":{namespace}:{demo_irsa.CONTROLLER}"), f"STS refuses {namespace}.")
    check(trust.answer("default") == "AccessDenied", "STS accepts a namespace that the policy does not name.")
    proved("STS accepts signed tokens of kube-system and cloudon, and refuses default's. Nothing else changed.")


def summary(bed: Bed, seconds: float, v1: Image, v2: Image) -> None:
    title("Summary")
    transferred, full = demo_image.size(v1) + demo_image.new_bytes(v2, v1), demo_image.size(v1) + demo_image.size(v2)
    for line in (
        "Two hosts that reach only S3 run shop:v2, verified by digest.",
        f"For both versions {megabytes(transferred)} were uploaded once, and downloaded by each host. Full copies are "
        f"{megabytes(full)} for each.",
        f"The run took {seconds:.0f} s, 15 of them for docker's failing pull.",
    ):
        proved(line)
    print(
        f"""
The hosts stay up:
  make testbed-status          list what runs, and where
  . tests/tools/env.sh         put the tools on PATH, then for instance
  ansible all -i {bed.inventory} -a 'docker image ls'
  make testbed-down            stop everything and remove every trace
More: README.md, docs/image_transfer.md, docs/testbed.md""",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main()
    except BedError as error:
        refuse(str(error))
