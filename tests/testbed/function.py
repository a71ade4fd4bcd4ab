# SPDX-FileCopyrightText: 2026 The daytwo.aws authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry point of a function's process: import the handler from the package and call it with an event.

Run as `python -I -S function.py FD`, with the request as JSON on standard input. The response goes to descriptor FD.
"""

from __future__ import annotations

import datetime
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any


class Context:
    """The methods of Lambda's context object."""

    def __init__(self, timeout: float, **fields: str) -> None:
        self._end = time.monotonic() + timeout
        self.log_stream_name = f"[{fields['function_version']}]{fields['aws_request_id']}"
        self.__dict__.update(fields)

    def get_remaining_time_in_millis(self) -> int:
        return max(0, int((self._end - time.monotonic()) * 1000))


def move_the_time(offset: float) -> None:
    """Set the process's time to the bed's, which may be weeks later than the machine's."""
    plain, real = datetime.datetime, time.time

    class Kind(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, plain)

    class Moved(datetime.datetime, metaclass=Kind):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return plain.now(tz) + datetime.timedelta(seconds=offset)

        @classmethod
        def utcnow(cls) -> Any:
            return plain.now(datetime.timezone.utc).replace(tzinfo=None) + datetime.timedelta(seconds=offset)

    datetime.datetime = Moved  # type: ignore[misc]
    time.time = lambda: real() + offset


def main() -> int:
    request = json.load(sys.stdin)
    if abs(request["offset"]) > 1:
        move_the_time(request["offset"])
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    try:
        module, _dummy, name = request["handler"].rpartition(".")
        handler = getattr(importlib.import_module(module.replace("/", ".")), name)
        answer, failed = handler(request["event"], Context(**request["context"])), False
        text = json.dumps(answer)
    except Exception as error:  # every exception of a handler is its response
        traceback.print_exc()
        trace = traceback.format_tb(error.__traceback__)
        answer = {"errorMessage": str(error), "errorType": type(error).__name__, "stackTrace": trace}
        text, failed = json.dumps(answer), True
    with os.fdopen(int(sys.argv[1]), "w") as out:
        out.write(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
