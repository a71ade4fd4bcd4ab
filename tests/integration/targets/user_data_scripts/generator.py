# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Random user data scripts around a call of bootstrap.sh, as people write them and as they should not."""

from __future__ import annotations

import random

SCRIPT = "/etc/eks/bootstrap.sh"
CONFIG = "/etc/kubernetes/kubelet/kubelet-config.json"
LISTED = ("net.ipv4.tcp_mem", "kernel.msg*", "net.core.somaxconn")


class ScriptGenerator:
    """A grammar of scripts. Every choice comes from the seed, so that a number names a script."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)  # noqa: S311 (no secret)
        self.before: list[str] = []

    def pick(self, *choices: str) -> str:
        return self.random.choice(choices)

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def generate(self) -> bytes:
        lines = [self.pick("#!/bin/bash", "#!/usr/bin/env bash", "#!/bin/bash -e", "#!/bin/bash")]
        lines += [self.pick("set -e", "set -o errexit", "set -u", "", "set -euo pipefail")]
        body = self.calls()
        for _number in range(self.random.randint(0, 3)):
            self.before.append(self.harmless())
        if self.chance(0.25):
            self.before.append(self.hazard())
        self.random.shuffle(self.before)
        lines += self.before + body
        for _number in range(self.random.randint(0, 2)):
            lines.append(self.harmless())
        if self.chance(0.08):
            lines.append(self.hazard())
        text = "\n".join(lines) + self.pick("\n", "\n", "")
        if self.chance(0.12):
            text = text.replace("\n", "\r\n")
        return text.encode()

    # Calls

    def calls(self) -> list[str]:
        if self.chance(0.12):
            return [
                f'if [ "$(uname -s)" = {self.pick("Linux", "Other")} ]; then',
                f"  {self.call()}",
                "else",
                f"  {self.call()}",
                "fi",
            ]
        return [self.in_context(self.call())]

    def call(self) -> str:
        program = self.pick(
            SCRIPT, SCRIPT, SCRIPT, f'"{SCRIPT}"', f"'{SCRIPT}'", "/etc/eks/boot\\strap.sh", '/etc/"eks"/bootstrap.sh'
        )
        if self.chance(0.1):
            self.before.append(self.pick(f"BS={SCRIPT}", f'BS="{SCRIPT}"', f"export BS={SCRIPT}"))
            program = self.pick("$BS", '"$BS"', "${BS}", '"${BS}"')
        wrapper = self.pick(
            "", "", "", "", "bash ", "sudo ", "sudo -E ", "command ", "nohup ", "env A=1 ", "A=b ", "time "
        )
        arguments = [self.name()]
        if self.chance(0.6):
            arguments.append("--b64-cluster-ca " + self.value("Y2E="))
        if self.chance(0.5):
            arguments.append("--apiserver-endpoint " + self.value("https://x.example"))
        if self.chance(0.7):
            arguments.append("--kubelet-extra-args " + self.extra_args())
        if self.chance(0.2):
            arguments.append("--use-max-pods " + self.value("false"))
        if self.chance(0.25):
            self.random.shuffle(arguments)
        if self.chance(0.2):
            arguments.insert(self.random.randint(0, len(arguments)), self.redirection())
        if self.chance(0.05):
            arguments.append(self.call_fault())
        between = self.pick(" ", " ", " \\\n  ", "  ")
        text = wrapper + between.join([program, *arguments])
        if self.chance(0.25):
            text += " " + self.redirection()
        if self.chance(0.05):
            text += " <<E\nx $(echo y)\nE"
        elif self.chance(0.1):
            text += self.pick(" # done", "  #--kubelet-extra-args 'x'")
        return text

    def call_fault(self) -> str:
        return self.pick(
            "--kubelet-extra-args",
            "--kubelet-extra-args=--v=3",
            "--kubelet-extra-args '--v=9'",
            "$UNSET",
            '"$@"',
            "$(cat /tmp/name)",
            "'open",
            "--help",
            "*",
            "{a,b}",
            "~",
        )

    def redirection(self) -> str:
        return self.pick(
            "> /var/log/b.log",
            "2>&1",
            ">/dev/null 2>&1",
            "> >(cat > /tmp/copy)",
            "</dev/null",
            "<<< x",
            "2>> /tmp/err",
            "&> /tmp/all",
        )

    def name(self) -> str:
        if self.chance(0.04):
            return ""
        if self.chance(0.2):
            self.before.append(
                self.pick("NAME=prod", "NAME='prod'", 'NAME="$(cat /tmp/name)"', "NAME=$(cat /tmp/name)")
            )
            return self.pick("$NAME", '"$NAME"', "${NAME}", '"${NAME}"', '"${NAME:-x}"')
        return self.pick("prod", "'prod'", '"prod"', "pr''od", '"$(cat /tmp/name)"', "$(cat /tmp/name)", "$'prod'")

    def value(self, text: str) -> str:
        return self.pick(text, f"'{text}'", f'"{text}"', f"$'{text}'", f'"{text[:2]}"{text[2:]}')

    def flags(self) -> str:
        flags = [self.pick("--max-pods=42", "--node-labels=a=b", "--v=3", "--node-labels=a=b,c=d", "--cert-dir=/x")]
        if self.chance(0.3):
            listed = ",".join(self.random.sample(LISTED, self.random.randint(1, 2)))
            flags.append(
                self.pick("--allowed-unsafe-sysctls=", "--allowed-unsafe-sysctls ", "--allowed_unsafe_sysctls=")
                + listed
            )
        self.random.shuffle(flags)
        return " ".join(flags)

    def extra_args(self) -> str:
        flags = self.flags()
        kind = self.random.randint(0, 13)
        if kind == 0:
            self.before.append(self.pick(f"KEA='{flags}'", f'export KEA="{flags}"', f'readonly KEA="{flags}"'))
            return self.pick('"$KEA"', '"${KEA}"', "$KEA", '"--v=1 $KEA"', "'--v=1 '\"$KEA\"")
        if kind == 1:
            self.before.append("V=b")
            return self.pick("'--node-labels=a='\"$V\"' --v=2'", '"--node-labels=a=${V} --v=2"', "--node-labels=a=$V")
        if kind == 2:
            return self.pick(
                '"--node-labels=t=$(imds "latest/meta-data")"', '"--node-labels=t=`imds x`"', "--v=$(imds x)"
            )
        if kind == 3:
            return self.pick("'--a=\"b c\" --v=1'", '"--node-labels=\\"a=b\\" --v=2"', "\"--node-labels='a=b' --v=2\"")
        if kind == 4:
            return self.pick("''", '""', "'--v=1\n--v=2'", "'--v=1 \\\\'", '"--v=\'1"', "'--v=\"1'", "'--v=1\\'")
        if kind == 5:
            self.before.append(f'KUBELET_EXTRA_ARGS="{flags}"')
            return '"$KUBELET_EXTRA_ARGS"'
        return self.pick(
            f"'{flags}'", f'"{flags}"', f"$'{flags}'", flags.replace(" ", "\\ "), f"'{flags}'", f'"{flags}"'
        )

    def in_context(self, call: str) -> str:
        kind = self.random.randint(0, 27)
        if "<<E" in call and kind > 4:
            kind = 0
        simple = call.partition("  #")[0].partition(" # ")[0]
        contexts = [
            call,
            f"if [ -f {SCRIPT} ]; then\n  {call}\nfi",
            f"if ! [[ -x '{SCRIPT}' ]]; then\n  exit 1\nfi\n{call}",
            f"run() {{\n  {call}\n}}\nrun",
            f"{{\n  {call}\n}}",
            f"[ $# -eq 0 ] && {call}",
            f"false || {call}",
            f"({simple})",
            f"( cd /tmp && {simple} )",
            f"{simple} | tee /tmp/t",
            f"{simple} &\nwait",
            f'OUT=$({simple})\necho "$OUT"',
            f'echo "$({simple})"',
            f"for i in 1 2; do {simple}; done",
            f"while read -r line; do\n  {simple} </dev/null\ndone < /tmp/name",
            f"case $(uname -s) in\n  Linux|Other) {simple} ;;\n  *) exit 1 ;;\nesac",
            f"if {simple}; then echo good; fi",
            f"for i in 1 2 3; do\n  if {simple}; then break; fi\ndone",
            f"! {simple} || true",
            f"function go {{ {simple}; }}\ngo",
            f"{simple} && echo done || exit 1",
            f"{{ {simple}; }} > /tmp/captured 2>&1",
        ]
        return contexts[kind] if kind < len(contexts) else call

    # Around it

    def harmless(self) -> str:
        return self.pick(
            f"# {SCRIPT} is called below",
            f'echo "running {SCRIPT} now"',
            f"[ -f {SCRIPT} ] || exit 1",
            f"chmod +x {SCRIPT}",
            f"ls -l {SCRIPT} > /dev/null",
            "echo hello > /tmp/hello",
            "yum install -y jq",
            "exec > >(tee /var/log/user-data.log) 2>&1",
            "cat > /tmp/conf <<'EOF'\n$HOME 'open\nEOF",
            "cat <<-EOF > /tmp/conf2\n\tvalue $(echo x)\n\tEOF",
            'for f in /tmp/*; do echo "$f"; done > /dev/null',
            'A=(one two "three four")\necho ${#A[@]} ${A[1]:-x}',
            "N=$((1 + (2 * 3)))\necho $N",
            "systemctl restart kubelet || true",
            "echo 'it''s' \"a \\\" b\" $'c\\'d' # 'comment",
            "x=`echo y`; echo $x",
            "[[ abc =~ ^a(b|c).*$ ]] && echo match",
            "export HTTP_PROXY=http://proxy:3128 NO_PROXY=localhost,169.254.169.254",
            "mkdir -p /var/lib/kubelet && echo '{}' > /var/lib/kubelet/x.json",
            ". /etc/os-release",
            "trap 'echo bye' EXIT",
            f"echo \"$(jq '.registryPullQPS = 0' {CONFIG})\" > {CONFIG}",
        )

    def hazard(self) -> str:
        unit = "/etc/systemd/system/kubelet.service.d"
        return self.pick(
            "export KUBELET_EXTRA_ARGS='--max-pods=7 --node-labels=x=y'",
            "KUBELET_EXTRA_ARGS=--allowed-unsafe-sysctls=net.ipv4.tcp_mem; export KUBELET_EXTRA_ARGS",
            f'echo "$(jq \'.allowedUnsafeSysctls=["net.ipv4.tcp_mem"]\' {CONFIG})" > {CONFIG}',
            f"mkdir -p {unit}; printf '[Service]\\nEnvironment=KUBELET_EXTRA_ARGS=--v=1\\n' > {unit}/40-x.conf",
            f"cat > /tmp/run.sh <<'E'\n{SCRIPT} other --kubelet-extra-args '--v=5'\nE\nbash /tmp/run.sh",
            f"eval '{SCRIPT} other'",
            f'eval "echo {SCRIPT}"',
            f"echo '{SCRIPT} other' | bash",
            f"bash -c '{SCRIPT} other'",
            f"sh -c '\"$0\" other' {SCRIPT}",
            f'echo "{SCRIPT} other" > /tmp/x.sh; . /tmp/x.sh',
            f"source {SCRIPT} other",
            f"cp {SCRIPT} /tmp/b; /tmp/b other",
            f"ln -s {SCRIPT} /tmp/b && /tmp/b other --kubelet-extra-args '--v=5'",
            "cd /etc/eks && ./bootstrap.sh other",
            "(cd /etc/eks; bash bootstrap.sh other)",
            f"sed -i 's/bootstrapped/x/' {SCRIPT}",
            f"xargs {SCRIPT} < /tmp/name",
            f"f() {{ {SCRIPT} \"$@\"; }}; f other --kubelet-extra-args '--v=5'",
            f"ARGS=(other --kubelet-extra-args '--v=5'); {SCRIPT} \"${{ARGS[@]}}\"",
            f"ARGS='other --kubelet-extra-args --v=5'; {SCRIPT} $ARGS",
            f"trap '{SCRIPT} other' EXIT",
            f"IFS=,; {SCRIPT} other",
            "P=/etc/eks; $P/bootstrap.sh other --kubelet-extra-args '--v=5'",
            f"read -r B <<< {SCRIPT}; $B other",
            f"for b in {SCRIPT}; do $b other; done",
            "find /etc/eks -name 'boot*.sh' -exec {} other \\;",
            "/etc/eks/boot*.sh other",
            f"B={SCRIPT}; B=/bin/echo; $B x",
            f'echo() {{ {SCRIPT} "$@"; }}; echo other',
            "exit 0",
            "if true; then",
            'echo "open',
            "cat <<EOF",
            f"shopt -s expand_aliases; alias go='{SCRIPT} other'\ngo",
            "base64 -d <<< L2V0Yy9la3MvYm9vdHN0cmFwLnNoIG90aGVy | bash",
            "KUBELET_EXTRA_ARGS='--v=8' " + f"{SCRIPT} other",
            f'set -- other --kubelet-extra-args --v=4; {SCRIPT} "$1" "$2" "$3"',
            f"O=--kubelet-extra-args; {SCRIPT} other \"$O\" '--v=6'",
            f"O=$(echo --kubelet-extra-args); {SCRIPT} \"$O\" '--v=6' other",
            f"python3 -c 'import os; os.system(\"{SCRIPT} other\")'",
        )
