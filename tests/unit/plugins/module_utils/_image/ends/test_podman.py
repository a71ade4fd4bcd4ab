# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman's command line: its output, well-formed or not, and its errors. The real program: target image_engines."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.engine import PRELOADED_LABEL, EngineError
from ansible_collections.daytwo.aws.plugins.module_utils._image.ends.podman import PodmanEngine
from ansible_collections.daytwo.aws.plugins.module_utils._image.errors import ImageError
from ansible_collections.daytwo.aws.plugins.module_utils._image.formats.archive import ImageArchive, stage_from_archive
from ansible_collections.daytwo.aws.plugins.module_utils._image.model import StoredImage, compute_chain_ids
from ansible_collections.daytwo.aws.plugins.module_utils._image.staging import Staging
from ansible_collections.daytwo.aws.tests.unit.plugins.module_utils._image.builders import (
    Made,
    digest_of,
    make,
    nothing,
    tree,
)

V1 = make(b"base", b"middle", b"top")
V2 = make(b"base", b"middle", b"other")
ID = V1.image.config.digest[7:]
OTHER = V2.image.config.digest[7:]
INFO = {
    "store": {"graphDriverName": "overlay", "graphRoot": "/"},
    "version": {"Version": "4.3.1", "OsArch": "linux/amd64"},
    "host": {},
}
NOT_KNOWN = "Error: inspecting object: x: image not known\n"


def inspected(made: Made = V1, *names: str, **changes: Any) -> dict[str, Any]:
    return {
        "Id": made.image.config.digest[7:],
        "RepoTags": list(names),
        "RootFS": {"Type": "layers", "Layers": list(made.image.diff_ids)},
        "Os": "linux",
        "Architecture": "amd64",
        "Size": 300,
        "Labels": None,
        **changes,
    }


class Program:
    """A podman with the outputs of the test, by the first arguments of a call."""

    def __init__(self, answers: Optional[dict[str, Any]] = None) -> None:
        self.answers: dict[str, Any] = {
            "info": INFO,
            "images": [{"Id": ID}],
            "image inspect": [inspected(V1, "registry.test/app:v1")],
            **(answers or {}),
        }
        self.calls: list[list[str]] = []

    def __call__(self, command: list[str], text: str, descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        arguments = command[command.index("podman") + 1 :]
        self.calls.append(arguments)
        for length in (2, 1):
            answer = self.answers.get(" ".join(arguments[:length]))
            if answer is None:
                continue
            if isinstance(answer, Exception):
                raise answer
            if callable(answer):
                result: tuple[int, str, str] = answer(arguments, descriptors)
                return result
            return answer if isinstance(answer, tuple) else (0, json.dumps(answer), "")
        return 0, "", ""


def engine(answers: Optional[dict[str, Any]] = None, root: str = "/nonexistent") -> tuple[PodmanEngine, Program]:
    program = Program(answers)
    return PodmanEngine(program, 5.0, root), program


# -- what it has


def test_facts_are_what_podman_reports(tmp_path: Path) -> None:
    podman, program = engine()
    facts = podman.read_facts(str(tmp_path / "not" / "there" / "yet"))
    assert (facts.engine, facts.version, facts.storage, facts.platform) == ("podman", "4.3.1", "overlay", "linux/amd64")
    assert facts.images == (
        StoredImage(f"sha256:{ID}", f"sha256:{ID}", ("registry.test/app:v1",), V1.image.diff_ids, "linux/amd64", 300),
    )
    assert facts.chain_ids == set(compute_chain_ids(V1.image.diff_ids))
    assert [call[:2] for call in program.calls] == [["info", "--format"], ["images", "--all"], ["image", "inspect"]]


def test_a_storage_on_another_disk_has_no_known_need(tmp_path: Path) -> None:
    """Podman unpacks the archive in the staging directory, so a bound for both disks would refuse too much."""
    same, _program = engine({"info": {**INFO, "store": {"graphDriverName": "vfs", "graphRoot": str(tmp_path)}}})
    assert same.read_facts(str(tmp_path)).root is not None
    other, _program = engine({"info": {**INFO, "store": {"graphDriverName": "vfs", "graphRoot": "/proc"}}})
    assert other.read_facts(str(tmp_path)).root is None
    closed, _program = engine({"info": {**INFO, "store": {"graphDriverName": "vfs", "graphRoot": "/nonexistent"}}})
    assert closed.read_facts(str(tmp_path)).root is None


def test_a_host_without_images_is_not_described(tmp_path: Path) -> None:
    podman, program = engine({"images": []})
    assert podman.read_facts(str(tmp_path)).images == ()
    assert podman.list_preloaded() == []
    assert "inspect" not in [call[1] for call in program.calls]


@pytest.mark.parametrize(
    ("names", "familiar"),
    [
        (["docker.io/library/app:v1"], ("app:v1",)),
        (["docker.io/team/app:v1"], ("team/app:v1",)),
        (["localhost/app:v1"], ("localhost/app:v1",)),
        (["127.0.0.1:5000/app:v1", "quay.io/app:v1"], ("127.0.0.1:5000/app:v1", "quay.io/app:v1")),
        ([], ()),
        (["<none>:<none>"], ("<none>:<none>",)),
    ],
)
def test_names_are_as_docker_lists_them(names: list[str], familiar: tuple[str, ...]) -> None:
    podman, _program = engine({"image inspect": [inspected(V1, *names)]})
    found = podman.find("x:v1")
    assert found is not None
    assert found.names == familiar


def test_a_short_name_that_runs_another_image_does_not_name_this_image(tmp_path: Path) -> None:
    images = [inspected(V1, "docker.io/library/app:v1", "quay.io/app:v1"), inspected(V2, "localhost/app:v1")]
    podman, _program = engine({"images": [{"Id": ID}, {"Id": OTHER}], "image inspect": images})
    facts = podman.read_facts(str(tmp_path))
    assert [image.names for image in facts.images] == [("quay.io/app:v1",), ("localhost/app:v1",)]
    both = [inspected(V1, "docker.io/library/app:v1", "localhost/app:v1")]
    podman, _program = engine({"image inspect": both})
    assert podman.read_facts(str(tmp_path)).images[0].names == ("app:v1", "localhost/app:v1")


def test_an_index_and_its_image_are_the_same(tmp_path: Path) -> None:
    podman, program = engine(
        {"images": [{"Id": ID}, {"Id": "f" * 64}, {"Id": ID}], "image inspect": [inspected(), inspected()]}
    )
    assert len(podman.read_facts(str(tmp_path)).images) == 1
    assert program.calls[-1] == ["image", "inspect", ID, "f" * 64]


def test_images_are_described_in_bulk(tmp_path: Path) -> None:
    podman, program = engine({"images": [{"Id": f"{number:064x}"} for number in range(2500)]})
    podman.read_facts(str(tmp_path))
    assert len(program.calls) == 2 + 3


def test_an_image_that_disappeared_is_left_out(tmp_path: Path) -> None:
    podman, _program = engine({"image inspect": (125, json.dumps([inspected()]), NOT_KNOWN)})
    assert len(podman.read_facts(str(tmp_path)).images) == 1


def test_a_list_that_fails_for_an_image_that_disappeared_is_read_again(tmp_path: Path) -> None:
    answers = iter([(125, "", "Error: x: image not known"), (0, json.dumps([{"Id": ID}]), "")])
    podman, _program = engine({"images": lambda *_arguments: next(answers)})
    assert len(podman.read_facts(str(tmp_path)).images) == 1


def test_preloaded_layers_are_apart_unless_they_have_a_name(tmp_path: Path) -> None:
    labels = {PRELOADED_LABEL: "/staging/loaded-1", "other": "1"}
    podman, _program = engine({"image inspect": [inspected(Labels=labels)]})
    facts = podman.read_facts(str(tmp_path))
    assert (facts.images, facts.chain_ids) == ((), frozenset())
    assert facts.preloaded == {"loaded-1": frozenset(compute_chain_ids(V1.image.diff_ids))}
    assert [label for _image, label in podman.list_preloaded()] == ["/staging/loaded-1"]
    podman, _program = engine({"image inspect": [inspected(V1, "quay.io/kept:v1", Labels=labels)]})
    assert podman.read_facts(str(tmp_path)).preloaded == {}
    assert [image.names for image, _label in podman.list_preloaded()] == [("quay.io/kept:v1",)]


def test_a_short_name_of_two_images_is_refused() -> None:
    """It is another image for docker than for podman."""
    podman, program = engine({"image inspect": [inspected(V2), inspected(V1)]})
    with pytest.raises(EngineError, match=f"two images of the name app:v1: it runs .*{OTHER}, and docker.io/"):
        podman.find("app:v1")
    assert program.calls == [["image", "inspect", "app:v1", "docker.io/library/app:v1"]]


@pytest.mark.parametrize(
    "answer",
    [[inspected(), inspected()], (125, json.dumps([inspected()]), NOT_KNOWN)],
)
def test_a_short_name_may_be_known_in_either_form(answer: Any) -> None:
    found = engine({"image inspect": answer})[0].find("app:v1")
    assert found is not None
    assert found.engine_id == f"sha256:{ID}"


@pytest.mark.parametrize("name", [f"sha256:{ID}", "quay.io/app:v1", f"app@sha256:{ID}", f"app:v1@sha256:{ID}"])
def test_other_names_are_given_to_podman_as_they_are(name: str) -> None:
    podman, program = engine()
    assert podman.find(name)
    assert program.calls == [["image", "inspect", name]]


def test_an_absent_image_is_none() -> None:
    podman, program = engine({"image inspect": (125, "[]\n", NOT_KNOWN)})
    assert podman.find("nope:v1") is None
    assert program.calls == [["image", "inspect", "nope:v1", "docker.io/library/nope:v1"]]


def test_sizes_of_layers_count_only_where_their_number_agrees() -> None:
    image = V1.stored()
    history = [{"size": 30}, {"size": 0}, {"size": 20}, {"size": 10}]
    assert engine({"history": history})[0].estimate_layer_sizes(image) == [10, 20, 30]
    assert engine({"history": history[1:]})[0].estimate_layer_sizes(image) == [None] * 3
    assert engine({"history": []})[0].estimate_layer_sizes(image) == [None] * 3


# -- what it reports instead


@pytest.mark.parametrize(
    "output",
    [
        "",
        "podman",
        "{}",
        "[1]",
        "null",
        "[null]",
        '[{"Id": 1}]',
        '[{"Id": "abc"}]',
        '[{"Id": "../../etc/passwd"}]',
        "[" * 100_000,
        '[{"Id": "' + ID + '"}]',
        json.dumps([inspected(RootFS=None)]),
        json.dumps([inspected(RootFS={"Layers": ["sha256:x"]})]),
        json.dumps([inspected(RootFS={"Layers": 3})]),
        json.dumps([inspected(Size="many")]),
        json.dumps([inspected(RepoTags=7)]),
        json.dumps([inspected(Labels=[1])]),
    ],
)
def test_an_unknown_output_is_an_error_with_a_suggestion(output: str, tmp_path: Path) -> None:
    broken, _program = engine({"image inspect": (0, output, "")})
    for call in (lambda: broken.read_facts(str(tmp_path)), broken.list_preloaded):
        with pytest.raises(EngineError, match=r"podman (wrote an output|could not describe)"):
            call()


def test_an_unknown_list_or_host_is_an_error(tmp_path: Path) -> None:
    for answers in (
        {"images": (0, "[1]", "")},
        {"images": (0, '{"Id": 1}', "")},
        {"images": (0, "x", "")},
        {"info": (0, "[]", "")},
        {"info": (0, "{}", "")},
        {"info": (0, '{"store": {}, "version": null}', "")},
    ):
        with pytest.raises(EngineError, match=r"output that this module does not know .* podman 4 or later"):
            engine(answers)[0].read_facts(str(tmp_path))
    with pytest.raises(EngineError, match="does not know"):
        engine({"history": (0, '{"size": 1}', "")})[0].estimate_layer_sizes(V1.stored())


def test_an_endless_output_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ansible_collections.daytwo.aws.plugins.module_utils._image.ends.podman._MAX_OUTPUT", 100)
    with pytest.raises(EngineError, match="characters"):
        engine()[0].find("app:v1")


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (
            (127, "", "timeout: failed to run command 'podman': No such file or directory\n"),
            "podman is missing: .* Install podman, or choose another engine",
        ),
        (
            (126, "", "timeout: failed to run command 'podman': Permission denied\n"),
            "podman cannot be started: .*Permission denied.* become",
        ),
        ((124, "", ""), "podman did not end 'podman info --format' within .* lock of its storage"),
        ((137, "", ""), "podman did not end 'podman info --format' within"),
        (FileNotFoundError(2, "No such file"), "timeout of coreutils cannot be started on this host"),
    ],
)
def test_a_podman_that_cannot_run_or_does_not_end_is_reported(answer: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=message):
        engine({"info": answer})[0].read_facts(str(tmp_path))


def test_a_call_of_a_podman_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real timeout, and a podman that ignores SIGTERM."""
    module = "ansible_collections.daytwo.aws.plugins.module_utils._image.ends.podman"
    monkeypatch.setattr(f"{module}._CALL_SECONDS", 0.2)
    monkeypatch.setattr(f"{module}._KILL_SECONDS", 0.2)
    hanging = tmp_path / "podman"
    hanging.write_text("#!/bin/sh\ntrap '' TERM\nwhile :; do sleep 0.05; done\n")
    hanging.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")

    def run(command: list[str], text: str, _descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False, timeout=60)
        return done.returncode, done.stdout, done.stderr

    with pytest.raises(EngineError, match="podman did not end 'podman info --format'"):
        PodmanEngine(run, 5.0, str(tmp_path)).read_facts(str(tmp_path))


@pytest.mark.parametrize(
    ("call", "answers"),
    [
        (lambda podman: podman.read_facts("/"), {"info": (125, "", "x\nError: the reason\n")}),
        (lambda podman: podman.read_facts("/"), {"images": (125, "", "Error: the reason\n")}),
        (lambda podman: podman.read_facts("/"), {"image inspect": (125, "", "Error: the reason\n")}),
        (lambda podman: podman.find("app:v1"), {"image inspect": (125, "[]", "Error: the reason\n")}),
        (lambda podman: podman.tag(V1.stored(), "quay.io/app:v1"), {"tag": (125, "", "Error: the reason\n")}),
        (lambda podman: podman.remove(V1.stored()), {"image rm": (2, "", "Error: the reason\n")}),
        (lambda podman: podman.estimate_layer_sizes(V1.stored()), {"history": (125, "", "Error: the reason\n")}),
    ],
)
def test_a_refusal_is_quoted(call: Callable[[PodmanEngine], Any], answers: dict[str, Any]) -> None:
    with pytest.raises(
        EngineError, match=r"podman could not .*: the reason\. Remove the cause, and run again\."
    ) as error:
        call(engine(answers)[0])
    assert "x\n" not in str(error.value)


def test_missing_ranges_of_user_ids_have_a_suggestion() -> None:
    errors = 'level=error msg="..."\nError: potentially insufficient UIDs or GIDs available in user namespace'
    with pytest.raises(EngineError, match="/etc/subuid and /etc/subgid, or with become"):
        engine({"tag": (125, "", errors)})[0].tag(V1.stored(), "quay.io/app:v1")


# -- names


def test_names_are_given_exactly() -> None:
    podman, program = engine({"image inspect": [inspected()]})
    for name in ("registry.test:5000/app:v1", "app:v1", "team/app:v1"):
        podman.tag(V1.stored(), name)
    assert [call for call in program.calls if call[0] == "tag"] == [
        ["tag", ID, "registry.test:5000/app:v1"],
        ["tag", ID, "docker.io/library/app:v1"],
        ["tag", ID, "docker.io/team/app:v1"],
    ]


@pytest.mark.parametrize("found", [[inspected(V2)], None])
def test_a_short_name_that_podman_resolves_otherwise_is_given_under_localhost_as_well(found: Any) -> None:
    podman, program = engine({"image inspect": found or (125, "[]", NOT_KNOWN)})
    podman.tag(V1.stored(), "app:v1")
    assert [call for call in program.calls if call[0] == "tag"] == [
        ["tag", ID, "docker.io/library/app:v1"],
        ["tag", ID, "localhost/app:v1"],
    ]


def test_an_image_that_is_gone_is_removed() -> None:
    podman, program = engine({"image rm": (1, "", f"Error: {ID}: image not known")})
    podman.remove(V1.stored())
    assert program.calls == [["image", "rm", ID]]


# -- archives


def read_all(descriptor: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:
        return file.read()


class Loading:
    """A podman that loads, and refuses the first archives."""

    def __init__(self, *errors: str, status: int = 125) -> None:
        self.errors = list(errors)
        self.status = status
        self.archives: list[dict[str, bytes]] = []

    def __call__(self, arguments: Sequence[str], descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        with tarfile.open(fileobj=io.BytesIO(read_all(descriptors[0]))) as opened:
            self.archives.append({item.name: opened.extractfile(item).read() for item in opened})  # type: ignore[union-attr]
        return (self.status, "", self.errors.pop(0)) if self.errors else (0, "Loaded image", "a warning")

    def layers(self, number: int) -> list[str]:
        """The digests of the layers in the manifest of an archive."""
        files = self.archives[number]
        (entry,) = json.loads(files["index.json"])["manifests"]
        manifest = json.loads(files[f"blobs/sha256/{entry['digest'][7:]}"])
        return [layer["digest"] for layer in manifest["layers"]]


def archive_of(directory: Path, made: Made, *present: int) -> ImageArchive:
    directory.mkdir(exist_ok=True)
    left_out = {made.image.layers[number].blob.digest for number in present}
    paths = {digest: directory / digest[7:] for digest in made.content if digest not in left_out}
    for digest, path in paths.items():
        path.write_bytes(made.content[digest])
    return ImageArchive(made.image, paths, str(directory))


def test_an_archive_is_an_image_layout_only(tmp_path: Path) -> None:
    loading = Loading()
    podman, program = engine({"load": loading}, str(tmp_path / "root"))
    sent: list[tuple[Any, ...]] = []
    podman.load(archive_of(tmp_path / "blobs", V1), lambda *step: sent.append(step))
    (files,) = loading.archives
    assert "manifest.json" not in files
    assert all(digest_of(data) == f"sha256:{name[13:]}" for name, data in files.items() if name.startswith("blobs/"))
    assert loading.layers(0) == [layer.blob.digest for layer in V1.image.layers]
    assert sent[-1][0] == "sending to podman"
    assert sent[-1][1] == sent[-1][2]
    assert program.calls == [["load", "--quiet"]]
    assert tree(tmp_path) == sorted(["blobs", *(f"blobs/{digest[7:]}" for digest in V1.content)])


def test_layers_that_podman_knows_only_by_their_diff_ids_are_named_so(tmp_path: Path) -> None:
    loading = Loading("Error: reading blob sha256:1: no such file or directory")
    podman, _program = engine({"load": loading}, str(tmp_path / "root"))
    podman.load(archive_of(tmp_path / "blobs", V1, 0, 1), nothing)
    blobs = [layer.blob.digest for layer in V1.image.layers]
    assert loading.layers(0) == blobs
    assert loading.layers(1) == [*V1.image.diff_ids[:2], blobs[2]]
    assert set(loading.archives[1]) >= {f"blobs/sha256/{digest[7:]}" for digest in (V1.image.config.digest, blobs[2])}


def test_a_whole_image_is_sent_once(tmp_path: Path) -> None:
    loading = Loading("Error: no space left on device")
    podman, _program = engine({"load": loading}, str(tmp_path / "root"))
    with pytest.raises(EngineError, match="could not load the image: no space left on device"):
        podman.load(archive_of(tmp_path / "blobs", V1), nothing)
    assert len(loading.archives) == 1


def test_the_reason_is_that_of_the_format_in_which_the_image_came(tmp_path: Path) -> None:
    errors = (
        "Error: payload does not match any of the supported image formats:\n * oci: not a directory\n"
        " * oci-archive: the reason\n * docker-archive: file does not exist\n"
    )
    podman, _program = engine({"load": Loading(errors, errors)}, str(tmp_path / "root"))
    with pytest.raises(EngineError, match=r"could not load the image: the reason\. Remove"):
        podman.load(archive_of(tmp_path / "blobs", V1, 0), nothing)


def test_a_podman_that_does_not_read_is_reported(tmp_path: Path) -> None:
    big = make(os.urandom(3_000_000))
    podman, _program = engine({"load": (125, "", "Error: the reason")}, str(tmp_path / "root"))
    with pytest.raises(EngineError, match="the reason"):
        podman.load(archive_of(tmp_path / "blobs", big), nothing)
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((127, "", "env: 'podman': No such file or directory"), "podman is missing"),
        (PermissionError(13, "Permission denied"), "podman cannot be started: .*Permission denied"),
    ],
)
def test_a_podman_that_cannot_run_is_reported_by_load_and_export(answer: Any, message: str, tmp_path: Path) -> None:
    podman, _program = engine({"load": answer, "save": answer}, str(tmp_path / "root"))
    with pytest.raises(EngineError, match=message):
        podman.load(archive_of(tmp_path / "blobs", V1), nothing)
    with pytest.raises(EngineError, match=message), podman.export(V1.stored()) as stream:
        assert stream.read(10) == b""
    assert not (tmp_path / "root").exists()


def test_a_podman_that_does_not_end_is_reported(tmp_path: Path) -> None:
    def hang(arguments: Sequence[str], descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        read_all(descriptors[0])
        time.sleep(1)
        return 0, "", ""

    program = Program({"load": hang})
    podman = PodmanEngine(program, 0.1, str(tmp_path / "root"))
    with pytest.raises(EngineError, match="did not load the image within 0 seconds"):
        podman.load(archive_of(tmp_path / "blobs", V1), nothing)


def test_a_blob_that_became_shorter_ends_podman(tmp_path: Path) -> None:
    """The archive that podman gets has no end, so it cannot be loaded."""
    received: list[bytes] = []

    def receive(arguments: Sequence[str], descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        received.append(read_all(descriptors[0]))
        return 125, "", "Error: unexpected EOF"

    podman, _program = engine({"load": receive}, str(tmp_path / "root"))
    archive = archive_of(tmp_path / "blobs", V1)
    layer = tmp_path / "blobs" / V1.image.layers[2].blob.digest[7:]
    with pytest.raises(ImageError, match="became shorter while it was loaded"):
        podman.load(archive, lambda *_step: layer.write_bytes(b""))
    layer.write_bytes(b"packed:top")
    assert len(received[0]) < archive.convert_to_layout().length
    assert not (tmp_path / "root").exists()


def test_an_export_streams_and_is_read_to_its_end(tmp_path: Path) -> None:
    def save(arguments: Sequence[str], descriptors: tuple[int, ...]) -> tuple[int, str, str]:
        with open(os.dup(descriptors[1]), "wb") as file:
            file.write(b"x" * 5_000_000)
        return 0, "", ""

    podman, program = engine({"save": save}, str(tmp_path / "root"))
    with podman.export(V1.stored()) as stream:
        assert stream.read(10) == b"x" * 10
    assert program.calls == [["save", "--quiet", "--format", "docker-archive", ID]]
    assert not (tmp_path / "root").exists()


def test_an_export_that_fails_is_reported(tmp_path: Path) -> None:
    podman, _program = engine({"save": (125, "", "Error: zstd compression is not supported")}, str(tmp_path / "root"))
    with pytest.raises(EngineError, match=r"save the image sha256:.*: zstd .*, or use source=registry\."):  # noqa: SIM117
        with podman.export(V1.stored()) as stream:
            assert stream.read(10) == b""


def test_a_save_that_fails_gives_its_reason_and_not_that_the_archive_is_empty(tmp_path: Path) -> None:
    podman, _program = engine({"save": (125, "", "Error: zstd compression is not supported")}, str(tmp_path / "root"))
    staging = Staging(tmp_path / "staging", "saved-" + "0" * 20)
    with pytest.raises(EngineError, match="zstd compression is not supported"):
        stage_from_archive(lambda: podman.export(V1.stored()), staging, V1.image.diff_ids, lambda _done: None)


def test_an_empty_archive_of_a_save_that_reports_success_is_an_error(tmp_path: Path) -> None:
    podman, _program = engine({"save": (0, "", "")}, str(tmp_path / "root"))
    staging = Staging(tmp_path / "staging", "saved-" + "0" * 20)
    with pytest.raises(ImageError, match="cannot be read: empty file"):
        stage_from_archive(lambda: podman.export(V1.stored()), staging, V1.image.diff_ids, lambda _done: None)


def test_the_blobs_of_an_export_are_uncompressed() -> None:
    blobs = engine()[0].list_blobs(V1.stored())
    assert (blobs.manifest, blobs.config.digest) == (None, V1.image.config.digest)
    assert tuple(layer.digest for layer in blobs.layers) == V1.image.diff_ids
