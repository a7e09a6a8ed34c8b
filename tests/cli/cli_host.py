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
import traceback

import safetensors.torch  # noqa: F401

import rotacube.inference.run
import rotacube.models.store  # noqa: F401


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


def read_all(pipe: int) -> str:
    """Everything that comes through a pipe until its other end closes."""
    with open(pipe, encoding="utf-8") as stream:
        return stream.read()


def main() -> None:
    """Answer calls until standard input ends."""
    for line in sys.stdin:
        # Pipes: a limit on the size of files does not hold for them.
        (out, to_out), (err, to_err) = os.pipe(), os.pipe()
        process = os.fork()
        if process == 0:
            child(json.loads(line), to_out, to_err)
        os.close(to_out)
        os.close(to_err)
        texts = [read_all(out), read_all(err)]
        _, status = os.waitpid(process, 0)
        answer = {"code": os.waitstatus_to_exitcode(status), "out": texts[0], "err": texts[1]}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
