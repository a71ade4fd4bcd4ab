# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scripts around bootstrap.sh and the kubelet: which are edited, and which are refused for which reason."""

from __future__ import annotations

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup import userdata
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.errors import SysctlError
from ansible_collections.daytwo.aws.plugins.module_utils._sysctl_nodegroup.userdata import (
    BootstrapSettings,
    UserDataRequest,
    render,
)

CUSTOM_AMI = BootstrapSettings("prod", "https://x.example", "Y2E=", "172.20.0.0/16", "172.20.0.10")
REQUESTED = ("net.core.somaxconn",)
S = "/etc/eks/bootstrap.sh"
CALL = f"{S} prod --kubelet-extra-args '--max-pods=5'"
CONFIG = "/etc/kubernetes/kubelet/kubelet-config.json"
UNIT = "/etc/systemd/system/kubelet.service.d"


def script(*lines: str) -> str:
    return "\n".join(("#!/bin/bash", *lines, ""))


def multipart(*parts: tuple[str, str]) -> str:
    text = 'MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary="//"\n\n'
    for media_type, body in parts:
        text += f"--//\nContent-Type: {media_type}\n\n{body}\n"
    return text + "--//--\n"


def cloud_config(*lines: str) -> str:
    return "\n".join(("#cloud-config", *lines, ""))


@pytest.mark.parametrize(
    "text",
    [
        script(CALL, "systemctl restart kubelet"),
        script(f"[ -f {S} ] || exit 1", f"chmod +x {S}", f'echo "running {S}"', CALL),
        script(f"command -v {S}", f"ls -l {S} > /dev/null", CALL),
        script(f"while [ ! -f {S} ]; do sleep 1; done", CALL),
        script(f"for i in 1 2 3; do {CALL} && break; sleep 5; done"),
        script(f"{S} prod>x"),
        script(f"> /var/log/x {S} prod"),
        script(f"{S} prod <<E", "x", "E"),
        script(f"\t{S}\tprod\t"),
        script(f"((1)) && {S} prod"),
        script(f"X=`{S} prod`", 'echo "$X"'),
        script(f"cat <({S} prod)"),
        script(f"run () ( {CALL} )", "run"),
        script(f"sudo -E bash -x {S} prod"),
        script(f"timeout 60 nice -n 5 {S} prod"),
        script(f"exec {S} prod"),
        script("exec {log}>/var/log/x", CALL),
        script("[[ $X =~ ^(a|b)$ ]] && echo y", "case x in (x) echo;; *) ;; esac", CALL),
        script(". /etc/os-release", "N=prod", f"{S} $N"),
        script('KUBELET_EXTRA_ARGS="--v=1"', f'{S} prod --kubelet-extra-args "$KUBELET_EXTRA_ARGS"'),
        script("E='--allowed-unsafe-sysctls=kernel.sem'", f'{S} prod --kubelet-extra-args "$E"'),
        script("ID=$(curl -s http://169.254.169.254/x)", f'{S} "prod" --kubelet-extra-args "--node-labels=id=$ID"'),
        script(f'{S} "$(cat /tmp/name)" --use-max-pods false'),
        script(f'{S} prod --docker-config-json \'{{"a": "b"}}\''),
        script(f"jq '.maxPods=3' {CONFIG} > /tmp/k; mv /tmp/k {CONFIG}", CALL),
        script("mkdir -p /var/lib/kubelet/plugins", CALL),
        script("/opt/agent/install.sh", CALL),
        multipart(("text/cloud-boothook", f"#cloud-boothook\n#!/bin/bash\n{CALL}")),
        multipart(("text/x-shellscript", script("echo x")), ("text/plain", script(CALL))),
        multipart(("text/cloud-config", cloud_config("runcmd:", "  - echo x")), ("text/x-shellscript", script(CALL))),
        cloud_config("runcmd:", "  - |", "    set -e", f"    {CALL}", "    echo x"),
        cloud_config("runcmd:", f"  - B={S}", "  - $B prod # done"),
        cloud_config("packages: [jq]", "runcmd:", "  - |-", f"    {S} prod \\", "      --use-max-pods false"),
    ],
)
def test_a_call_is_edited_and_gives_every_byte_back(text: str) -> None:
    data = render(UserDataRequest("al2", REQUESTED, text.encode(), CUSTOM_AMI))
    assert data.count(b"=net.core.somaxconn") == 1
    assert render(UserDataRequest("al2", REQUESTED, data, CUSTOM_AMI)) == data
    assert userdata.remove_own_changes("al2", data) == text.encode()
    crlf = text.replace("\n", "\r\n").encode()
    edited = render(UserDataRequest("al2", REQUESTED, crlf, CUSTOM_AMI))
    assert userdata.remove_own_changes("al2", edited) == crlf


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (script(f"{S} $N", "N=prod"), r"line 2: .*\$N"),
        (script("if true; then N=prod; fi", f"{S} $N"), r"line 3: .*\$N"),
        (script("NAME=prod", ". /etc/os-release", f"{S} $NAME"), r"line 4: .*\$NAME"),
        (script("K=", f"{S} prod --kubelet-extra-args $K"), r"\$K"),
        (script(f'A=(prod); {S} "${{A[@]}}"'), "concerns the kubelet|any number"),
        (script("O=$(cat /tmp/o)", f'{S} "$O" "--v=6" other'), "value is not known"),
        (script(f"{S} prod-{{a,b}}"), "any number"),
        (script(f"{S} prod --kubelet-extra-args '--allowed-unsafe-sysctls=a, b'"), "other characters"),
        (script(f"{S} prod --kubelet-extra-args '--v=1\\'"), "systemd"),
        (script("exit 0", CALL), "line 2: the script ends here"),
        (script("export KUBELET_EXTRA_ARGS=--v=1", f"{S} prod"), "KUBELET_EXTRA_ARGS"),
        (script(f"env KUBELET_EXTRA_ARGS=--v=1 {S} prod"), "KUBELET_EXTRA_ARGS"),
        (script(f"sed -i s/a/b/ {S}", CALL), "line 2: it names"),
        (script(f"cp {S} /tmp/b; /tmp/b prod"), "line 2: it names"),
        (script(f"xargs {S} < /tmp/x"), "line 2: it names"),
        (script(f"trap '{S} prod' EXIT"), "line 2: it names"),
        (script(f"echo '{S} prod' | bash"), "line 2: it names"),
        (script(f"echo '{S} prod' > /tmp/x; bash /tmp/x"), "line 2: it names"),
        (script(f"f() {{ echo '{S} prod'; }}", "f > /tmp/x", "bash /tmp/x", CALL), "line 2: it prints"),
        (script(f"sudo() {{ :; }}; sudo {S} prod"), "line 2: it names"),
        (script("cd /etc/eks; ./bootstrap.sh prod"), "it uses /etc/eks"),
        (script("/etc/eks/boot*.sh prod"), "it uses /etc/eks"),
        (script("/opt/bootstrap.sh prod"), "line 2: it names"),
        (script(f"cat > /tmp/x <<E\n{S} prod\nE", CALL), "line 3: it is in a text"),
        (script("eval x", CALL), "eval"),
        (script("source /opt/x", CALL), "source"),
        (script("curl -s https://x.example | bash", CALL), "what it reads"),
        (script(f"bash -c '{S} prod'"), "bash -c"),
        (script("shopt -s expand_aliases", CALL), "aliases"),
        (script(f"echo x > {UNIT}/99.conf", CALL), "line 2: it changes the unit"),
        (script("cp /tmp/x /etc/systemd/system/kube*.d/", CALL), "line 2: it changes the unit"),
        (script(f"jq '.allowedUnsafeSysctls=[]' {CONFIG}", CALL), "other means"),
        (script(f"jq -s '.[0]*.[1]' {CONFIG} /tmp/y", CALL), "configuration"),
        (script(f"sed -i s/a/b/ {CONFIG}", CALL), "configuration"),
        (script("systemctl mask kubelet", CALL), "concerns the kubelet"),
        (script(CALL + "\r"), "carriage returns"),
        (script('echo "open', CALL), "a quote does not end"),
        (script("if true; then", CALL), "fi is missing"),
        (script("cat <<E", CALL), "has no end"),
        (script("x=" + "$(" * 3000 + "true" + ")" * 3000, CALL), "nested too deep"),
        (script("echo \0", CALL), "null character"),
        (CALL, "neither MIME"),
        ("\n" + script(CALL), "neither MIME"),
        ("#!/usr/bin/python3\nimport os; os.system('/etc/eks/bootstrap.sh x')\n", "not a shell script"),
        ("\ufeff" + multipart(("text/x-shellscript", script(CALL))), "byte order mark"),
        (multipart(("text/x-shellscript", script(CALL))).replace("MIME-Version: 1.0\n", ""), "no header MIME-Version"),
        (multipart(("text/html", script(CALL))), "type text/html"),
        (multipart(("text/x-include-url", "https://x.example")), "#include"),
        (cloud_config("bootcmd:", f"  - {S} prod"), "elsewhere"),
        (cloud_config("runcmd:", f"  - [{S}, prod]"), "elsewhere"),
        (cloud_config("runcmd:", f'  - "{S} prod"'), "quotes or folded lines"),
        (cloud_config("runcmd:", "  - export KUBELET_EXTRA_ARGS=--v=1", f"  - {S} prod"), "KUBELET_EXTRA_ARGS"),
        # Without a visible call, a second one could be added.
        (script("/opt/agent/install.sh"), "has no call of .*line 2 runs a program"),
        (script("bash /opt/x.sh"), "has no call of .*line 2 runs a program"),
        (cloud_config("bootcmd:", "  - x"), "has no call of"),
    ],
)
def test_what_is_not_understood_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(SysctlError, match=message):
        render(UserDataRequest("al2", REQUESTED, text.encode(), CUSTOM_AMI))


@pytest.mark.parametrize(
    ("lines", "al2", "al2023"),
    [
        (["echo hi"], None, None),
        ([CALL], "calls /etc/eks/bootstrap.sh itself", None),
        ([f"[ -f {S} ] && echo {S}"], None, None),
        (["systemctl restart kubelet", "systemctl daemon-reload"], None, None),
        ([f"jq '.allowedUnsafeSysctls=[]' {CONFIG}"], "other means", "other means"),
        ([f"""echo "$(jq '.maxPods=5' {CONFIG})" > {CONFIG}"""], None, None),
        (["cat > /etc/eks/nodeadm.d/x.yaml <<E", "kind: NodeConfig", "E"], None, "nodeadm"),
        (["nodeadm init"], None, "nodeadm"),
        ([f"mkdir -p {UNIT}"], None, "the unit"),
        (["systemctl set-environment KUBELET_EXTRA_ARGS=x"], None, "the unit"),
        (["rm /etc/kubernetes/kubelet/config.json.d/40-nodeadm.conf"], "configuration", "configuration"),
        (["eval $X"], "eval", "eval"),
        (["source /opt/x.sh"], "source", "source"),
        ([". /etc/profile"], None, None),
        (["curl -s https://x.example | bash"], "what it reads", "what it reads"),
        (["/opt/agent/install.sh"], None, None),
        (["coproc cat"], None, None),  # not understood, and it does not concern the kubelet
        (
            [
                "cat <<-EOF > /etc/profile.d/bootstrap.sh",
                'export KUBELET_EXTRA_ARGS="--max-pods=110"',
                "EOF",
                f"sed -i '/^set -o errexit/a\\\\nsource /etc/profile.d/bootstrap.sh' {S}",
            ],
            None,
            "the unit or the arguments",
        ),
    ],
)
@pytest.mark.parametrize("family", ["al2", "al2023"])
def test_scripts_beside_an_ami_of_eks(lines: list[str], al2: str | None, al2023: str | None, family: str) -> None:
    base = multipart(("text/x-shellscript", script(*lines))).encode()
    message = al2 if family == "al2" else al2023
    if message is None:
        data = render(UserDataRequest(family, REQUESTED, base))
        assert userdata.list_allowed_sysctls(family, data) == list(REQUESTED)
        assert userdata.remove_own_changes(family, data) == base
        return
    with pytest.raises(SysctlError, match=message):
        render(UserDataRequest(family, REQUESTED, base))
