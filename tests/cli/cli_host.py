"""Runs the command line many times without importing PyTorch many times: one process that forks for each call.

Reads lines of JSON `{"arguments", "folder", "variables", "file_limit"}` and answers each with
`{"code", "out", "err"}`. The child is a process of its own: exit code, streams and limits are real.
"""

from __future__ import annotations

import json
import os
import resource
import runpy
import sys
import tempfile
import traceback

import safetensors.torch  # noqa: F401

import rotacube.inference.runner
import rotacube.models.card  # noqa: F401


def child(call: dict, out: int, err: int) -> None:
    """Be `python -m rotacube ARGUMENTS`."""
    os.dup2(out, 1)
    os.dup2(err, 2)
    os.chdir(call["folder"])
    os.environ.update(call["variables"])
    if call["file_limit"]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (call["file_limit"], call["file_limit"]))
    sys.argv = ["rotacube", *call["arguments"]]
    code = 0
    try:
        runpy.run_module("rotacube", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Answer calls until standard input ends."""
    for line in sys.stdin:
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            process = os.fork()
            if process == 0:
                child(json.loads(line), out.fileno(), err.fileno())
            _, status = os.waitpid(process, 0)
            texts = []
            for stream in (out, err):
                stream.seek(0)
                texts.append(stream.read().decode())
        answer = {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
