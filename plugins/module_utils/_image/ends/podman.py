# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Podman through its command line: the only file that calls it. It has no daemon, so it works for each user alike.

Without privileges, podman keeps the images of each user in that user's home directory.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, BinaryIO, Optional, cast

from ..errors import ImageError
from ..formats.reference import DOCKER_HUB, ImagePlatform, ImageReference, is_digest
from ..model import (
    EngineFacts,
    StoredImage,
    get_digest_hex,
    parse_digest,
)
from ..program import PipedProgram
from ..progress import ProgressCallback
from ..run_command import RunCommand
from ..staging import CHUNK, PODMAN_DIRECTORY, Staging, get_default_root
from .disk_space import read_disk_space, read_nearest_disk_space
from .engine import (
    PRELOADED_LABEL,
    EngineError,
    ExportedBlobs,
    KeptIndex,
    LoadableArchive,
    SortedImages,
    get_layer_sizes,
    list_uncompressed_blobs,
)

# The description of an image has some kilobytes; that of thousands of images has a few megabytes.
_MAX_OUTPUT = 64 * 1024 * 1024
# A command line has at most two megabytes, and an id 64 characters.
_IDS_PER_CALL = 1000
# An image that disappears while podman lists its images makes the list fail.
_LIST_ATTEMPTS = 3
_MAX_REASON = 1000
_COMMAND_NOT_FOUND = 127
# A call that moves no layer takes seconds. A podman that waits for a lock of its storage waits forever.
_CALL_SECONDS = 300
_KILL_SECONDS = 10
# What timeout reports: the command did not end in time, was killed then (timeout kills itself as well), or cannot be
# started.
_TIMED_OUT = (124, 137, -9)
_COMMAND_NOT_STARTED = 126
# Begins the reason for the format that is loaded, among those for the formats that podman tried as well.
_LAYOUT_MARK = "* oci-archive: "
# What podman reports for an absent image, besides its exit status for all errors.
_ABSENT = ("image not known", "no such image")


@contextmanager
def _translate_output_errors() -> Iterator[None]:
    """Reports an output of another shape than podman's as an EngineError instead of a traceback."""
    try:
        yield
    except EngineError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, RecursionError, ImageError) as error:
        raise EngineError(
            f"podman wrote an output that this module does not know ({type(error).__name__}: "
            f"{str(error)[:_MAX_REASON]}). Check that the program 'podman' on this host is podman 4 or later."
        ) from error


class PodmanEngine:
    """An Engine. C(timeout) is the seconds that a load or save may take after the last byte.

    C(staging_root) is the parent of the directory for podman's temporary files.
    """

    def __init__(self, run: RunCommand, timeout: float = 1800.0, staging_root: Optional[str] = None) -> None:
        self._run = run
        self._timeout = timeout
        self._staging_root = staging_root

    @_translate_output_errors()
    def read_facts(self, staging_path: str) -> EngineFacts:
        info = self._call_json("info", "--format", "json")
        store, version = info["store"], info["version"]
        sorted_images = SortedImages.sort(self._list_images())
        staging, root = read_nearest_disk_space(staging_path), read_disk_space(str(store["graphRoot"]))
        return EngineFacts(
            engine="podman",
            version=str(version["Version"]),
            storage=str(store["graphDriverName"]),
            platform=str(version["OsArch"]),
            images=_withdraw_shadowed_names(sorted_images.images),
            chain_ids=sorted_images.chain_ids,
            staging=staging,
            # Podman unpacks the archive in the staging directory. A storage on another disk holds the layers only.
            root=root if root and root.device == staging.device else None,
            zstd=True,
            preloaded=sorted_images.preloaded,
        )

    def list_preloaded(self) -> Sequence[tuple[StoredImage, str]]:
        return [(image, directory) for image, directory in self._list_images() if directory]

    def find(self, name_or_id: str) -> Optional[StoredImage]:
        """Finds the image that podman itself runs under this name, if no other image has the name that docker means."""
        canonical_name = _get_canonical_name(name_or_id)
        found = self._inspect(name_or_id, *([canonical_name] if canonical_name else []))
        if len(found) > 1:
            raise EngineError(
                f"podman has two images of the name {name_or_id}: it runs {found[0].engine_id}, and {canonical_name} "
                f"is {found[1].engine_id}. Remove one name with 'podman untag', or use localhost/{name_or_id}."
            )
        return found[0] if found else None

    @_translate_output_errors()
    def estimate_layer_sizes(self, image: StoredImage) -> Sequence[Optional[int]]:
        history = self._call_json("history", "--format", "json", get_digest_hex(image.engine_id))
        return get_layer_sizes(image, [entry.get("size") for entry in history])

    def list_blobs(self, image: StoredImage) -> ExportedBlobs:
        # Podman also keeps the bytes of the config.
        return list_uncompressed_blobs(image)

    @contextmanager
    def export(self, image: StoredImage) -> Iterator[BinaryIO]:
        # An oci-archive may have a rewritten config (docs/facts/image_transfer.md#podman).
        command = ["save", "--quiet", "--format", "docker-archive", get_digest_hex(image.engine_id)]
        with self._open_program(command) as program:
            program.stdin.close()
            broken: Optional[ImageError] = None
            with program.stdout:
                try:
                    yield cast(BinaryIO, program.stdout)
                except ImageError as error:
                    broken = error
                    # Only an archive that ends early has a reason of podman's own.
                    if program.stdout.read(1):
                        raise
                # The rest is read as well: podman fails where it cannot write.
                while program.stdout.read(CHUNK):
                    pass
        reason = self._check_end(program, "save the image")
        if reason:
            raise _make_refused_error(f"save the image {image.engine_id}", reason, "or use source=registry") from broken
        if broken:
            raise broken

    def load(self, archive: LoadableArchive, progress: ProgressCallback) -> None:
        # Only as an OCI layout: where that fails, podman would load docker's manifest.json without its digests.
        reason = self._load_layout(archive.convert_to_layout(), progress)
        if reason and archive.leaves_out_layers:
            # Podman knows a layer by its diffID, but by another digest only if it came with that compression.
            reason = self._load_layout(archive.convert_to_layout(by_diff_id=True), progress)
        if reason:
            raise _make_refused_error("load the image", reason)

    def tag(
        self, image: StoredImage, name: str, digest: Optional[str] = None, index: Optional[KeptIndex] = None
    ) -> None:
        canonical_name = _get_canonical_name(name)
        self._tag(image, canonical_name or name)
        # Podman finds a short name under localhost/ first, and under the registries of its configuration.
        if canonical_name and [found.engine_id for found in self._inspect(name)] != [image.engine_id]:
            self._tag(image, f"localhost/{name}")

    def remove(self, image: StoredImage) -> None:
        status, _output, errors = self._call("image", "rm", get_digest_hex(image.engine_id))
        if status and not _is_absent(errors):
            raise _make_refused_error(f"remove the image {image.engine_id}", errors)

    def _tag(self, image: StoredImage, name: str) -> None:
        status, _output, errors = self._call("tag", get_digest_hex(image.engine_id), name)
        if status:
            raise _make_refused_error(f"name the image {name}", errors)

    @_translate_output_errors()
    def _inspect(self, *names: str) -> list[StoredImage]:
        """Lists the images of these names, each once. Names that podman does not know are left out."""
        status, output, errors = self._call("image", "inspect", *names)
        found = [_parse_image(entry)[0] for entry in _parse_list(output)] if output.strip() else []
        if status and not found and not _is_absent(errors):
            raise _make_refused_error(f"read the image {names[0]}", errors)
        return list({image.engine_id: image for image in found}.values())

    @_translate_output_errors()
    def _list_images(self) -> list[tuple[StoredImage, str]]:
        """Lists all images, each once, and the value of PRELOADED_LABEL."""
        ids = list(dict.fromkeys(get_digest_hex(_parse_id(entry)) for entry in self._list_entries()))
        found: dict[str, tuple[StoredImage, str]] = {}
        for begin in range(0, len(ids), _IDS_PER_CALL):
            # An image that disappeared meanwhile, or an index without an image of this host, is left out.
            _status, output, errors = self._call("image", "inspect", *ids[begin : begin + _IDS_PER_CALL])
            if not output.strip():
                raise _make_refused_error("describe its images", errors)
            for entry in _parse_list(output):
                image, labels = _parse_image(entry)
                found[image.engine_id] = image, str(labels.get(PRELOADED_LABEL) or "")
        return list(found.values())

    def _list_entries(self) -> list[Any]:
        errors = ""
        for _attempt in range(_LIST_ATTEMPTS):
            status, output, errors = self._call("images", "--all", "--format", "json")
            if not status:
                return _parse_list(output)
            if not _is_absent(errors):
                break
        raise _make_refused_error("list its images", errors)

    def _call_json(self, *arguments: str) -> Any:
        status, output, errors = self._call(*arguments)
        if status:
            raise _make_refused_error(" ".join(arguments), errors)
        return _parse_json(output)

    def _call(self, *arguments: str) -> tuple[int, str, str]:
        limit = ["timeout", f"--kill-after={_KILL_SECONDS}", str(_CALL_SECONDS)]
        try:
            status, output, errors = self._run([*limit, "podman", *arguments], "", ())
        except OSError as error:
            raise EngineError(f"timeout of coreutils cannot be started on this host: {error}.") from error
        if status == _COMMAND_NOT_FOUND:
            raise _make_missing_error()
        if status == _COMMAND_NOT_STARTED:
            raise EngineError(
                f"podman cannot be started: {errors.strip()[:_MAX_REASON]}. Check the permissions of the program for "
                f"user id {os.geteuid()}, or use become."
            )
        if status in _TIMED_OUT:
            raise EngineError(
                f"podman did not end 'podman {' '.join(arguments[:2])}' within {_CALL_SECONDS} seconds. Another podman "
                "of this user may hold the lock of its storage: end that one, and run again."
            )
        return status, output, errors

    def _load_layout(self, archive: LoadableArchive, progress: ProgressCallback) -> Optional[str]:
        """Loads an archive. Returns the reason if podman refuses it."""
        with self._open_program(["load", "--quiet"]) as program:
            sent = 0
            for chunk in archive:
                try:
                    program.stdin.write(chunk)
                except BrokenPipeError:
                    break  # podman stopped reading; its error output has the reason
                sent += len(chunk)
                progress("sending to podman", sent, archive.length)
        return self._check_end(program, "load the image")

    @contextmanager
    def _open_program(self, arguments: Sequence[str]) -> Iterator[PipedProgram]:
        """Runs podman with pipes, and waits for its end.

        Podman leaves its temporary files where it is killed, so they are in a directory that is removed at the end, or
        at the end of the next program.
        """
        staging = Staging(self._staging_root or get_default_root(), PODMAN_DIRECTORY)
        try:
            with staging.hold_lock():
                program = PipedProgram(self._run, ["env", f"TMPDIR={staging.directory}", "podman", *arguments])
                try:
                    yield program
                finally:
                    program.end(self._timeout)
        finally:
            staging.remove()

    def _check_end(self, program: PipedProgram, action: str) -> Optional[str]:
        """Returns the reason if podman refused the action."""
        errors = program.end(0)
        if program.status is None and errors:
            raise EngineError(f"podman cannot be started: {errors}")
        if program.status is None:
            raise EngineError(
                f"podman did not {action} within {self._timeout:.0f} seconds. Check the disk of this host, raise "
                "timeout, and run again."
            )
        if program.status == _COMMAND_NOT_FOUND:
            raise _make_missing_error()
        return (errors or "no reason given") if program.status else None


def _parse_json(output: str) -> Any:
    if len(output) > _MAX_OUTPUT:
        raise ValueError(f"{len(output)} characters")
    return json.loads(output)


def _parse_list(output: str) -> list[Any]:
    value = _parse_json(output)
    if isinstance(value, list):
        return value
    raise TypeError(f"{type(value).__name__} instead of a list")


def _parse_id(entry: Mapping[str, Any]) -> str:
    return parse_digest(f"sha256:{entry['Id']}", "podman: image id")


def _parse_image(details: Mapping[str, Any]) -> tuple[StoredImage, Mapping[str, Any]]:
    """Parses an image of C(podman image inspect), and its labels."""
    # The id is the digest of the config, which podman reads and verifies for each of these descriptions.
    image_id = _parse_id(details)
    os_name, architecture, variant = (str(details.get(name) or "") for name in ("Os", "Architecture", "Variant"))
    image = StoredImage(
        engine_id=image_id,
        config_digest=image_id,
        names=tuple(_convert_to_familiar_name(str(name)) for name in details.get("RepoTags") or ()),
        diff_ids=tuple(parse_digest(item, "podman: diffID") for item in details["RootFS"].get("Layers") or ()),
        platform=str(ImagePlatform.from_config(os_name, architecture, variant)),
        size=int(details.get("Size") or 0),
    )
    return image, details.get("Labels") or {}


def _get_canonical_name(name_or_id: str) -> Optional[str]:
    """Gets the full name of a short name: C(docker.io/library/app:v1) of C(app:v1). None for other names and ids."""
    if is_digest(name_or_id):
        return None
    reference = ImageReference.parse(name_or_id)
    short = reference.host == DOCKER_HUB and reference.tag and not reference.digest
    return f"{reference.name}:{reference.tag}" if short else None


def _convert_to_familiar_name(name: str) -> str:
    """Converts a name to the form in which docker lists it: C(docker.io/library/app:v1) is C(app:v1)."""
    try:
        return ImageReference.parse(name).familiar_string
    except ImageError:
        return name


def _withdraw_shadowed_names(images: Sequence[StoredImage]) -> tuple[StoredImage, ...]:
    """Leaves out the short names under which podman runs another image, which has the name under localhost/."""
    owners = {name: image.engine_id for image in images for name in image.names}

    def is_shadowed(name: str, engine_id: str) -> bool:
        return owners.get(f"localhost/{name}", engine_id) != engine_id

    return tuple(
        StoredImage(
            image.engine_id,
            image.config_digest,
            tuple(name for name in image.names if not is_shadowed(name, image.engine_id)),
            image.diff_ids,
            image.platform,
            image.size,
        )
        for image in images
    )


def _is_absent(errors: str) -> bool:
    return any(text in errors for text in _ABSENT)


def _make_missing_error() -> EngineError:
    return EngineError(
        "podman is missing: this host has no program 'podman' in its PATH. Install podman, or choose another engine."
    )


def _make_refused_error(action: str, errors: str, suggestion: str = "") -> EngineError:
    """Quotes podman's reason. A load that fails has a line for each format that podman tried."""
    lines = [line.strip() for line in errors.splitlines() if line.strip()]
    marks = (_LAYOUT_MARK, "Error: ")
    own = next((found for mark in marks if (found := [line for line in lines if line.startswith(mark)])), lines)
    reason = " ".join(line.removeprefix(_LAYOUT_MARK).removeprefix("Error: ") for line in own)[:_MAX_REASON]
    if "insufficient UIDs or GIDs" in reason:
        suggestion = f"with ranges for user id {os.geteuid()} in /etc/subuid and /etc/subgid, or with become"
    return EngineError(
        f"podman could not {action}: {reason or 'no reason given'}. Remove the cause, and run again"
        f"{', ' + suggestion if suggestion else ''}."
    )
