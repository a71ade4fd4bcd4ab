# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what a script of the user data does with bootstrap.sh and with the kubelet. Refuse what cannot be known.

Each occurrence of bootstrap.sh is a call, a mention, or not understood.
docs/facts/sysctl_nodegroup.md#al2-and-bootstrapsh
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Optional

from ..errors import SysctlError
from .bootstrap_calls import BOOTSTRAP_SCRIPT, ENVIRONMENT_NAME, BootstrapCall, build_call
from .shell_grammar import parse_shell
from .shell_model import (
    UNKNOWN,
    ShellCommand,
    ShellRedirection,
    ShellScript,
    ShellSegment,
    ShellSyntaxError,
    ShellWord,
)

OWN_CALL, EKS_CALL, NODEADM = "own_call", "eks_call", "nodeadm"  # who configures the kubelet

# What concerns the kubelet's list, depending on who configures the kubelet.
RISKS = {
    OWN_CALL: re.compile(r"(?i)unsafe|kubelet|systemd/system/k|nodeadm|/etc/eks|bootstrap\.sh"),
    EKS_CALL: re.compile(
        r"(?i)unsafe|--config|kubelet-config|kubernetes/kubelet|eks/bootstrap\.sh|(?<![\w.-]/)(?<!\w)bootstrap\.sh"
    ),
    NODEADM: re.compile(r"(?i)unsafe|kubelet|systemd/system/k|nodeadm"),
}
_HIDDEN = re.compile(r"\b(?:eval|source|expand_aliases|BASH_ENV)\b|(?m:^|[;&|({])[ \t]*\.[ \t]|\|[ \t]*\S*sh\b|<\(")
_LINES_WITHOUT_COMMENTS = re.compile(r"(?m)^[ \t]*#.*$")
_SHELLS = ("bash", "sh", "dash", "ksh", "zsh")
_INTERPRETERS = (*_SHELLS, "python", "python2", "python3", "perl", "ruby", "node")
_SOURCING = ("source", ".")
_CHANGING = (
    "RANDOM",
    "SRANDOM",
    "SECONDS",
    "LINENO",
    "BASHPID",
    "EPOCHSECONDS",
    "EPOCHREALTIME",
    "UID",
    "EUID",
    "PPID",
)
_SOURCES = ("/etc/os-release", "/usr/lib/os-release")
_ENVIRONMENT_SOURCES = ("/etc/profile", "/etc/bashrc", "/etc/environment")  # bootstrap.sh reads its environment
_PROGRAM_DIRECTORIES = r"/(?:usr/)?(?:local/)?s?bin/[\w.+-]+"
_PRINTERS = ("echo", "printf", "logger", "wall")
_READERS = ("[", "test", "ls", "stat", "file", "which", "type", "md5sum", "sha256sum", "journalctl", "pgrep", "pidof")
_OWNER_COMMANDS = ("chmod", "chown")
_CONFIG_FILES = ("/etc/kubernetes/kubelet/kubelet-config.json", "/etc/kubernetes/kubelet/config.json")
_JQ_VALUE = r"[\w\s\".,:{}\[\]%+-]+"
_JQ_PROGRAM = re.compile(rf"\s*\.[\w.]*\s*\+?=\s*{_JQ_VALUE}(?:\|\s*\.[\w.]*\s*\+?=\s*{_JQ_VALUE})*")
_UNIT_VERBS = ("start", "restart", "try-restart", "stop", "enable", "status", "is-active", "daemon-reload", "reload")
_SUGGESTION = "Set user_data without it"


@dataclass(frozen=True)
class ScriptReading:
    """What a script does. C(calls): its calls of bootstrap.sh. C(hidden): a program that may hold another call."""

    calls: tuple[BootstrapCall, ...] = ()
    hidden: Optional[str] = None


def read_script(text: str, mode: str, label: str) -> ScriptReading:
    """Read a script. C(label) names it in messages."""
    risk = RISKS[mode]
    if not text.startswith("#!") or not re.match(r"#![ \t]*\S*/(?:env[ \t]+)?(?:ba|da)?sh\b", text):
        if risk.search(text):
            raise SysctlError(
                f"{label} is not understood: it concerns the kubelet or bootstrap.sh, and is not a shell script. "
                "Write it as a script that begins with #!/bin/bash"
            )
        return ScriptReading(hidden=f"{label} (no shell script)")
    if UNKNOWN in text and risk.search(text):
        raise SysctlError(f"{label} is not understood: it has a null character. Remove it")
    body = _LINES_WITHOUT_COMMENTS.sub("", text)
    try:
        script = parse_shell(text)
    except ShellSyntaxError as error:
        if risk.search(body) or _HIDDEN.search(body):
            raise SysctlError(
                f"{label} is not understood at line {error.line}: {error.reason}. Write this line in a simpler way"
            ) from error
        return ScriptReading(hidden=f"{label}, line {error.line}")
    return _ScriptReader(script, mode, label).read()


@dataclass
class _ScriptReader:
    script: ShellScript
    mode: str
    label: str
    constants: Mapping[str, str] = field(default_factory=dict)
    calls: list[BootstrapCall] = field(default_factory=list)
    outputs: set[str] = field(default_factory=set)  # files that a plain jq command writes
    hidden: Optional[str] = None
    printed: Optional[int] = None  # where text is printed that a function can hand to a program

    def fail(self, at: int, reason: str, suggestion: str = _SUGGESTION) -> None:
        raise SysctlError(f"{self.label}, line {self.script.count_line(at)}: {reason}. {suggestion}")

    def read(self) -> ScriptReading:
        self.constants = find_constants(self.script)
        for command in self.script.commands:
            self.read_command(command)
        self.read_here_documents()
        self.check_coverage()
        self.check_calls()
        if self.printed is not None and self.hidden:
            self.fail(self.printed, f"it prints what {self.hidden} can run")
        return ScriptReading(tuple(self.calls), self.hidden)

    # One command

    def read_command(self, command: ShellCommand) -> None:
        name = command.arguments[0].resolve(self.constants) if command.arguments else ""
        program, arguments = self.unwrap(command)
        self.check_hidden(command, program, arguments)
        if self.mode == OWN_CALL and program == BOOTSTRAP_SCRIPT:
            self.calls.append(build_call(self.script, command, arguments, self.constants, self.label))
            return
        text = self.join_texts(command)
        risk = RISKS[self.mode].search(text)
        if not risk or self.is_mention(command, name, program, arguments, text):
            return
        self.fail(command.start, self.describe_risk(program, text))

    def unwrap(self, command: ShellCommand) -> tuple[str, list[ShellWord]]:
        """Find the program that a command runs, behind sudo, env, exec and the like, and its arguments."""
        arguments = list(command.arguments) if command.kind == "simple" else []
        while arguments:
            name = arguments[0].resolve(self.constants)
            if not arguments[0].is_single_field(self.constants):
                return UNKNOWN, arguments[1:]
            if name in self.script.functions:
                return f"the function {name}", arguments[1:]
            rest = [argument.resolve(self.constants) for argument in arguments[1:]]
            skip = _count_wrapper(name, rest)
            if not skip or skip >= len(arguments):
                return name, arguments[1:]
            arguments = arguments[skip:]
        return "", []

    def check_hidden(self, command: ShellCommand, program: str, arguments: list[ShellWord]) -> None:
        texts = [argument.resolve(self.constants) for argument in arguments]
        name = program.rpartition("/")[2]
        if program == "eval":
            self.fail(command.start, "eval runs a text that cannot be known")
        if program in _SOURCING:
            allowed = _SOURCES if self.mode == OWN_CALL else (*_SOURCES, *_ENVIRONMENT_SOURCES)
            if not texts or texts[0] not in allowed or texts[0] in self.list_targets():
                self.fail(command.start, f"{program} runs a file that cannot be known")
        if program == "shopt" and "expand_aliases" in texts:
            self.fail(command.start, "aliases can change what a command means")
        if any(assignment.name in ("BASH_ENV", "ENV", "SHELLOPTS", "BASHOPTS") for assignment in command.assignments):
            self.fail(command.start, "the environment makes bash run a file that cannot be known")
        if name in _INTERPRETERS:
            self.check_interpreter(command, name, arguments, texts)
        elif (program.startswith(("/", "./", "../", "~")) or UNKNOWN in program) and not re.fullmatch(
            rf"{_PROGRAM_DIRECTORIES}|{re.escape(BOOTSTRAP_SCRIPT)}", program
        ):
            self.hide(command)

    def hide(self, command: ShellCommand) -> None:
        self.hidden = self.hidden or f"{self.label}, line {self.script.count_line(command.start)}"

    def check_interpreter(self, command: ShellCommand, name: str, arguments: list[ShellWord], texts: list[str]) -> None:
        code_option = "-c" if name in (*_SHELLS, "python", "python2", "python3") else "-e"
        operands = [text for text in texts if not re.match(r"[-+]", text)]
        if any(re.fullmatch(rf"-[a-z]*{code_option[1]}", text) for text in texts):
            code = " ".join(texts)
            if UNKNOWN in code or _HIDDEN.search(code) or RISKS[self.mode].search(code):
                self.fail(command.start, f"{name} {code_option} runs a text that cannot be known")
            return
        if not operands:
            if texts and re.fullmatch(r"-?-[Vv](?:ersion)?", texts[0]):
                return
            self.fail(command.start, f"{name} runs what it reads, which cannot be known")
        if UNKNOWN in operands[0] or any(
            segment.expansion and segment.text.startswith("<(")
            for argument in arguments
            for segment in argument.segments
        ):
            self.fail(command.start, f"{name} runs a file that cannot be known")
        self.hide(command)

    # Mentions

    def is_mention(self, command: ShellCommand, name: str, program: str, arguments: list[ShellWord], text: str) -> bool:
        """Whether a command only prints or reads what concerns the kubelet, or changes nothing of its list."""
        if program.startswith("the function "):
            return False
        plain = text.replace("/var/lib/kubelet", "")
        if not RISKS[self.mode].search(plain):
            return True
        if not command.arguments and command.assignments and not command.redirections:
            return self.is_known_assignment(command)
        if program in ("export", "readonly") and len(command.arguments) == 1 and not command.redirections:
            return self.is_known_assignment(command)
        if program in _PRINTERS and not command.captured and all(map(self.is_log, command.redirections)):
            self.printed = self.printed or (command.start if self.script.functions else None)
            return True
        if command.kind == "test" or program in _READERS or (name == "command" and "-v" in text.split()):
            return True
        if re.search(r"(?i)unsafe", text):
            return False
        texts = [argument.resolve(self.constants) for argument in arguments]
        if program == "systemctl":
            verbs = [entry for entry in texts if not entry.startswith("-")]
            return bool(verbs) and verbs[0] in _UNIT_VERBS and all(re.fullmatch(r"[\w@.-]+", entry) for entry in texts)
        if program in _OWNER_COMMANDS:
            allowed = r"(?:\S+:)?\S+" if program == "chown" else r"[au]*\+r?x|0?[75][0-7]{2}"
            return len(texts) == 2 and bool(re.fullmatch(allowed, texts[0])) and texts[1] == BOOTSTRAP_SCRIPT
        if self.mode == EKS_CALL and program == "sed":
            return not re.search(r"--config|kubelet-config|kubernetes/kubelet", text)
        if self.mode == NODEADM and program == BOOTSTRAP_SCRIPT:
            return True  # it does nothing on AL2023
        return self.is_plain_config_change(command, program, texts)

    def is_log(self, redirection: ShellRedirection) -> bool:
        target = redirection.target.resolve(self.constants)
        return redirection.operator in (">&", "<&") or bool(
            re.fullmatch(r"/dev/(?:null|console|stdout|stderr|kmsg|tty\w*)|/var/log/[\w./-]+", target)
        )

    def is_known_assignment(self, command: ShellCommand) -> bool:
        """Whether the values are known where they are used, or do not concern the kubelet at all."""
        for assignment in command.assignments:
            value = self.join_segments(assignment.value.segments)
            if assignment.name not in self.constants and RISKS[self.mode].search(value):
                return False
        return True

    def is_plain_config_change(self, command: ShellCommand, program: str, texts: list[str]) -> bool:
        """Whether jq sets other keys of the kubelet's configuration file by a program that can be read."""
        targets = [entry.target.resolve(self.constants) for entry in command.redirections]
        if program == "jq":
            operands = [entry for entry in texts if not re.fullmatch(r"-[rceM]+", entry)]
            if len(operands) == 2 and operands[1] in _CONFIG_FILES and _JQ_PROGRAM.fullmatch(operands[0]):
                self.outputs.update(targets)
                return True
            return False
        if program in ("mv", "cp"):
            operands = [entry for entry in texts if not entry.startswith("-")]
            return len(operands) == 2 and operands[0] in self.outputs and operands[1] in _CONFIG_FILES
        if program == "cat":
            return len(texts) == 1 and texts[0] in self.outputs and all(entry in _CONFIG_FILES for entry in targets)
        if program == "echo" and len(command.arguments) == 2 and all(entry in _CONFIG_FILES for entry in targets):
            segments = [segment for segment in command.arguments[1].segments if segment.text]
            inside = [entry for entry in self.script.commands if command.start < entry.start < command.end]
            return (
                len(segments) == 1
                and segments[0].text.startswith("$(")
                and len(inside) == 1
                and bool(inside[0].arguments)
                and inside[0].arguments[0].raw == "jq"
            )
        return False

    def describe_risk(self, program: str, text: str) -> str:
        if program == BOOTSTRAP_SCRIPT and self.mode == EKS_CALL:
            return (
                f"it calls {BOOTSTRAP_SCRIPT} itself, and EKS appends its own call with an AMI of EKS, so that the "
                "result is not known"
            )
        if re.search(r"(?i)unsafe", text):
            return "it sets allowed unsafe sysctls by other means than the rendered list"
        if "bootstrap.sh" in text:
            return f"it names {BOOTSTRAP_SCRIPT} neither as a call nor as a mention that is understood"
        if re.search(r"(?i)kubernetes/kubelet|kubelet-config|--config", text):
            return "it changes the kubelet's configuration in a way that is not understood"
        if re.search(r"(?i)nodeadm", text):
            return "it concerns nodeadm, which configures the kubelet"
        if re.search(r"(?i)systemd/system/k|kubelet\.service|kubelet_extra_args", text):
            return "it changes the unit or the arguments of the kubelet"
        if "/etc/eks" in text:
            return f"it uses /etc/eks otherwise than by the full path {BOOTSTRAP_SCRIPT}"
        return "it concerns the kubelet in a way that is not understood"

    # The rest of the script

    def join_texts(self, command: ShellCommand) -> str:
        """Join what a command itself says, without the commands inside of it and without names of variables."""
        segments = [self.join_segments(argument.segments) for argument in command.arguments]
        for assignment in command.assignments:
            name = assignment.name if assignment.name == ENVIRONMENT_NAME else ""
            segments.append(f"{name}={self.join_segments(assignment.value.segments)}")
        for redirection in command.redirections:
            segments.append(self.join_segments(redirection.target.segments))
        if command.kind in ("arithmetic", "function"):
            segments.append(self.script.text[command.start : command.end])
        return " ".join(segments)

    def join_segments(self, segments: tuple[ShellSegment, ...]) -> str:
        result = ""
        for segment in segments:
            if not segment.expansion:
                result += segment.text
            elif segment.variable:
                result += self.constants.get(segment.variable, UNKNOWN)
            elif segment.text.startswith(("$(", "`", "<(", ">(")) and not segment.text.startswith("$(("):
                result += UNKNOWN
            else:
                result += segment.text
        return result

    def list_targets(self) -> list[str]:
        return [
            redirection.target.resolve(self.constants)
            for command in self.script.commands
            for redirection in command.redirections
        ]

    def read_here_documents(self) -> None:
        for start, end in self.script.here_documents:
            text = self.script.text[start:end].replace("/var/lib/kubelet", "")
            for name, value in self.constants.items():
                text = re.sub(rf"\$(?:{name}\b|\{{{name}\}})", re.sub(r"\\", "", value), text)
            found = RISKS[self.mode].search(text)
            if found:
                at = start + max(self.script.text[start:end].find(found.group()), 0)
                self.fail(at, "it is in a text that the script writes, and " + self.describe_risk("", text))

    def check_coverage(self) -> None:
        """Check that each occurrence is in a comment or in a command that was judged."""
        judged = [*self.script.comments, *self.script.here_documents]
        judged += [(command.start, command.end) for command in self.script.commands]
        for found in RISKS[self.mode].finditer(self.script.text):
            if not any(start <= found.start() < end for start, end in judged):
                self.fail(found.start(), f"{found.group()} is in a place that is not understood")

    def check_calls(self) -> None:
        if self.mode != OWN_CALL or not self.calls:
            return
        first = min(call.start for call in self.calls)
        for command in self.script.commands:
            program = self.unwrap(command)[0]
            is_end = program == "exit" or (
                bool(command.arguments)
                and command.arguments[0].raw == "exec"
                and program not in ("exec", BOOTSTRAP_SCRIPT)
            )
            if is_end and not command.conditional and command.start < first and program != BOOTSTRAP_SCRIPT:
                self.fail(command.start, f"the script ends here, before its call of {BOOTSTRAP_SCRIPT}")
        if any(call.value is None for call in self.calls):
            found = re.search(rf"(?m)^[^#\n]*\b{ENVIRONMENT_NAME}\b", self.script.text)
            if found:
                self.fail(
                    found.end(),
                    f"the arguments of the kubelet are in the variable {ENVIRONMENT_NAME}, which --kubelet-extra-args "
                    "replaces",
                    f'Add --kubelet-extra-args "${ENVIRONMENT_NAME}" to the call of {BOOTSTRAP_SCRIPT}',
                )


def _count_wrapper(name: str, rest: list[str]) -> int:
    """Count the words of a wrapper such as C(sudo -E) in front of a program; 0 where there is none."""
    program = name.rpartition("/")[2]
    options = {
        "sudo": r"-[EnHS]+|--preserve-env|[A-Za-z_]\w*=.*",
        "env": r"[A-Za-z_]\w*=.*",
        "exec": r"(?!)",
        "command": r"(?!)",
        "nohup": r"(?!)",
        "setsid": r"(?!)",
        "time": r"(?!)",
        "nice": r"-n|-?\d+",
        "timeout": r"\d+[smhd]?",
        "bash": r"-[exuv]+",
        "sh": r"-[exuv]+",
    }.get(program)
    if options is None:
        return 0
    count = 0
    while count < len(rest) and re.fullmatch(options, rest[count]):
        count += 1
    if program in ("bash", "sh") and (count == len(rest) or rest[count] != BOOTSTRAP_SCRIPT):
        return 0
    return count + 1


def find_constants(script: ShellScript) -> Mapping[str, str]:
    """Find variables with one value that is known: set once, unconditionally, before each use."""
    assignments: dict[str, list[tuple[ShellCommand, int]]] = {}
    for command in script.commands:
        for number, assignment in enumerate(command.assignments):
            assignments.setdefault(assignment.name, []).append((command, number))
    if any(not command.arguments for command, dummy in assignments.get("IFS", [])):
        return {}
    text = _clear_ranges(script.text, script.comments)
    last_source = max(
        (command.start for command in script.commands if command.arguments and command.arguments[0].raw in _SOURCING),
        default=-1,
    )
    constants: dict[str, str] = {}
    for name, found in sorted(assignments.items(), key=lambda entry: entry[1][0][0].start):
        command, number = found[0]
        assignment = command.assignments[number]
        alone = not command.arguments or (
            len(command.arguments) == 1 and command.arguments[0].raw in ("export", "readonly")
        )
        value = assignment.value.resolve(constants)
        uses = [match.start() for match in re.finditer(rf"\$(?:{name}\b|\{{{name}\}})", text)]
        others = len(re.findall(rf"\b{name}\b", text)) - len(uses) - 1
        has_tilde = any("~" in segment.text for segment in assignment.value.segments if not segment.quoted)
        if (
            len(found) == 1
            and alone
            and assignment.plain
            and not command.conditional
            and command.start > last_source  # a file that is read can set it again
            and name not in _CHANGING
            and UNKNOWN not in value
            and not others
            and not has_tilde
            and all(use > assignment.start for use in uses)
        ):
            constants[name] = value
    return constants


def _clear_ranges(text: str, ranges: tuple[tuple[int, int], ...]) -> str:
    for start, end in ranges:
        text = text[:start] + " " * (end - start) + text[end:]
    return text
