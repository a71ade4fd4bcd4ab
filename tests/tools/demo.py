# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demonstration: real commands, their real output, and what it means. It ends as soon as something is not so."""

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
# Ansible's own output, without what did not happen.
ANSIBLE = {
    "ANSIBLE_DISPLAY_SKIPPED_HOSTS": "false",
    "ANSIBLE_CALLBACK_RESULT_FORMAT": "yaml",
    "ANSIBLE_FORCE_COLOR": "true" if COLOUR else "false",
    "ANSIBLE_NOCOLOR": "false" if COLOUR else "true",
}
SUM = re.compile(r"([\d.]+) MB of ([\d.]+) MB needed, ([\d.]+) MB received")
RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


# -- telling


def styled(text: str, code: str) -> str:
    return f"\x1b[{code}m{text}\x1b[0m" if COLOUR else text


def title(text: str) -> None:
    print("\n" + styled(text, "1;36") + "\n" + styled("─" * WIDTH, "36"), flush=True)


def say(text: str) -> None:
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


# -- doing


def run(where: str, *command: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """A command, shown as it is typed; its output is shown as it comes, and returned without colours."""
    print("\n" + styled(f"{where}$ ", "1;33") + styled(shlex.join(command), "1"), flush=True)
    shown: list[str] = []

    def show(line: str) -> None:
        if line.strip() or shown:  # without the empty lines that Ansible begins with
            print(styled("│ ", "2") + line, end="", flush=True)
            shown.append(line)

    typed = command if where == "controller" else ("ssh", *ssh_to(where), shlex.join(command))
    ran = common.run(*typed, env=environment, each=show)
    print(flush=True)
    return ran.returncode, re.sub(r"\x1b\[[0-9;]*m", "", "".join(shown))


def ssh_to(host: str) -> list[str]:
    return [*("-i", str(hosts.KEY)), *hosts.SSH_OPTIONS, f"root@{Bed().host(host).address}", "--"]


class Transfer:
    """One run of the playbook: what it said, and what S3 saw of it."""

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
        check(bool(calls), "the record of S3's calls was cleared by somebody else who uses this test bed. Run again.")
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
        """What the report says and what the S3 server counted are both what the image's blobs come to."""
        for needed, _full, got in self.sums:
            check(
                abs(needed - expected / 1e6) < 0.06 and abs(got - expected / 1e6) < 0.06,
                f"a report says {needed} MB needed and {got} MB received, the blobs have {megabytes(expected)}.",
            )
        for what, count in (
            ("public sent", self.sent("public")),
            *((f"{host} received", self.received(host)) for host in demo_image.PRIVATE),
        ):
            check(expected <= count <= expected * 1.02, f"S3 counted {count} bytes that {what}, not {expected}.")


def runs(bed: Bed, image: Image, says: str) -> None:
    """The container, on both private hosts, by way of Ansible and ssh."""
    code, output = run(
        "controller",
        *("ansible", "private", "-i", str(bed.inventory), "-a", f"docker run --rm --network none {image.auth_ref}"),
        environment=ANSIBLE,
    )
    check(code == 0 and output.count(says) == len(demo_image.PRIVATE), f"the containers don't say {says!r}.")


def main() -> None:
    began = time.monotonic()
    bed = Bed.load()
    os.environ.update(bed.env)
    v1, v2 = demo_image.into_registry(bed)
    demo_image.reset(bed, v1)
    demo_image.log_in(bed, registry.AUTH, registry.USER, registry.password())
    try:
        tell(bed, v1, v2)
    finally:
        demo_image.log_out(bed)
    summary(bed, time.monotonic() - began, v1, v2)


def tell(bed: Bed, v1: Image, v2: Image) -> None:
    title("Images for hosts without internet")
    say(
        f"""Three docker hosts on this machine, each in a network of its own. "public" reaches the registry
        {registry.AUTH} and is logged in there. "private-a" and "private-b" reach one thing only: the S3 server
        {bed.s3.endpoint}. The registry has shop:v1, {len(v1.layers)} layers, {megabytes(demo_image.size(v1))}.
        Both private hosts are to run it."""
    )
    before(bed, v1)
    first(bed, v1)
    again(bed, v1)
    update(bed, v1, v2)
    bucket(v1, v2)
    refused(bed)


def before(bed: Bed, v1: Image) -> None:
    title("1  Before: a private host cannot pull")
    say("docker tries for about 15 seconds, then gives up:")
    code, output = run("private-a", "docker", "pull", v1.auth_ref)
    check(code != 0, "private-a could pull: it is not private.")
    check("Error response from daemon" in output, "this is no answer of docker.")
    for host in demo_image.PRIVATE:
        check(not bed.host(host).docker("image", "ls", "--quiet", v1.auth_ref).stdout, f"{host} has the image already.")
    proved("That is the real error of a host without a way to its registry. Neither private host has the image.")


def first(bed: Bed, v1: Image) -> None:
    title("2  The transfer: from the registry through S3 to both private hosts")
    say(
        """public takes each layer from the registry and puts it into the bucket; the private hosts get it from there.
        No byte passes the controller, and no host holds AWS credentials: they are given signed URLs."""
    )
    transfer = Transfer(bed, v1)
    transfer.check_bytes(demo_image.size(v1))
    check(min(transfer.changed[host] for host in demo_image.PRIVATE) > 0, "a host says that nothing changed.")
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
    proved(f"Both hosts now hold the very image that the registry has: config {v1.config_digest[:19]}…")
    title("3  After: it runs there")
    runs(bed, v1, "shop v1")
    proved("The container runs on both private hosts and tells its version.")


def again(bed: Bed, v1: Image) -> None:
    title("4  The same once more: nothing to do")
    transfer = Transfer(bed, v1)
    check(set(transfer.changed.values()) == {0}, f"changed is {transfer.changed}.")
    check({(needed, got) for needed, _full, got in transfer.sums} == {(0.0, 0.0)}, "the report tells of bytes.")
    writes = [call.operation for call in transfer.calls if call.mutating]
    check(not writes, f"S3 saw {writes}.")
    check(not any(transfer.received(host) for host in demo_image.PRIVATE), "S3 gave bytes to a private host.")
    proved("changed=0 on both hosts. S3 saw no write and gave out no byte.")


def update(bed: Bed, v1: Image, v2: Image) -> None:
    title("5  shop:v2: only what is new is carried")
    shared = sum(layer in v1.layers for layer in v2.layers)
    say(f"{shared} of its {len(v2.layers)} layers are those of v1. The targets are asked first, so these stay at home.")
    transfer = Transfer(bed, v2)
    expected = demo_image.new_bytes(v2, v1)
    transfer.check_bytes(expected)
    say("And it runs:")
    runs(bed, v2, "shop v2")
    full = demo_image.size(v2)
    table = [
        ("", "a full copy", "what was carried"),
        ("public to S3", megabytes(full), megabytes(transfer.sent("public"))),
        *((f"S3 to {host}", megabytes(full), megabytes(transfer.received(host))) for host in demo_image.PRIVATE),
    ]
    for row in table:
        print(f"  {row[0]:<20}{row[1]:>16}{row[2]:>20}")
    print()
    proved(f"v2 runs on both hosts, and {1 - expected / full:.0%} of a full copy was saved. v1 is still there, too.")
    for host in demo_image.PRIVATE:
        check(bool(bed.host(host).docker("image", "ls", "--quiet", v1.auth_ref).stdout), f"v1 is gone from {host}.")


def bucket(v1: Image, v2: Image) -> None:
    title("6  What stands in the bucket")
    names: dict[str, list[str]] = {}
    for version, image in (("v1", v1), ("v2", v2)):
        for digest, name in demo_image.named(image).items():
            names.setdefault(digest, []).append(f"{name} of {version}")
    say("Each blob once, named by its digest, whichever images it belongs to. The next transfer finds them there.")
    print()
    found = demo_image.objects()
    for digest, what in names.items():
        key = f"{demo_image.PREFIX}/blobs/sha256/{digest[7:]}"
        check(key in found, f"{key} is not in the bucket.")
        print(f"  s3://{demo_image.BUCKET}/{key[:35]}…  {found.pop(key) / 1e6:>7.3f} MB  {', '.join(what)}")
    print()
    check(not found, f"there is more in the bucket: {sorted(found)}")


def refused(bed: Bed) -> None:
    title("7  AccessDenied: trust or permission?")
    say(
        """A load balancer controller logs that it may not delete a load balancer. Everybody adds its namespace to the
        role's trust policy. Is that the mend?"""
    )
    balancer = demo_irsa.prepare(bed)
    answers = ("-e", json.dumps({"access_denied_message": demo_irsa.message(balancer)}))
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    check(code == 0, f"ansible-playbook ends with {code}.")
    told = " ".join(output.split())
    check("side: permission" in told, "it does not say permission.")
    check("is not the mend for this message" in told, "it does not say what is not the mend.")
    check(f"with {demo_irsa.TAG}=owned" in told, "it does not name the tag.")
    proved("No: STS had issued the session. The role's policy wants a tag, which this load balancer lacks.")
    say("With the tag on it, the same question once more:")
    demo_irsa.tag(bed, balancer)
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    check(code == 0 and "they allow it" in " ".join(output.split()), "the tag did not mend it.")
    proved("IAM's policy simulator allows it now. Nothing else was changed.")
    trusted(bed)


def trusted(bed: Bed) -> None:
    say("The same controller in another namespace, cloudon, gets AccessDenied, too. This is CloudTrail's event:")
    trust = demo_irsa.Trust(bed)
    check(trust.answer("cloudon") == "AccessDenied", "STS lets cloudon in before it is trusted.")
    answers = ("-e", json.dumps({"access_denied_message": trust.event("cloudon")}))
    code, output = run("controller", "ansible-playbook", "daytwo.aws.access_denied", *answers, environment=ANSIBLE)
    told = " ".join(output.split())
    check(code == 0 and "side: trust" in told and "mend, ready: binding" in told, "it does not say trust.")
    say("This time it is the trust policy. The binding that it offers, one service account more and nothing else:")
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
    check(trust.now() == trust.expected(), "the trust policy is not what it was with one service account more.")
    for namespace in ("kube-system", "cloudon"):
        check(trust.answer(namespace).endswith(f":{namespace}:{demo_irsa.CONTROLLER}"), f"STS refuses {namespace}.")
    check(trust.answer("default") == "AccessDenied", "STS lets in a namespace that nobody named.")
    proved("STS lets in signed tokens of kube-system and cloudon, and refuses default's. All else is as it was.")


def summary(bed: Bed, seconds: float, v1: Image, v2: Image) -> None:
    title("In short")
    carried, full = demo_image.size(v1) + demo_image.new_bytes(v2, v1), demo_image.size(v1) + demo_image.size(v2)
    for line in (
        "Two hosts that reach nothing but S3 run shop:v2, proved by digest.",
        f"For both versions {megabytes(carried)} were uploaded, once, and came to each host; full copies would have "
        f"been {megabytes(full)} to each.",
        f"It took {seconds:.0f} s, 15 of them docker's vain pull.",
    ):
        proved(line)
    print(
        f"""
Look around, the hosts stay up:
  make testbed-status          what runs, and where
  . tests/tools/env.sh         the tools on PATH, then for instance
  ansible all -i {bed.inventory} -a 'docker image ls'
  make testbed-down            stops it all and leaves nothing behind
More: README.md, docs/image_transfer.md, docs/testbed.md""",
        flush=True,
    )


if __name__ == "__main__":
    try:
        main()
    except BedError as error:
        refuse(str(error))
