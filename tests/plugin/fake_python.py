"""Stands in for a Python that makes environments and runs pip: `make(folder, ...)` writes it, a shell script."""

from __future__ import annotations

PACKAGES = "torch\t2.13.0\ttorch-2.13.0.whl\t900\\nrich\t15.0\trich-15.0.whl\t100\\n"


def make(folder, pip="exit 0", plan=PACKAGES, pip_version="26.3", renewed="26.3", dry_run="exit 0"):
    """A Python that notes how it is called in `calls`.

    Args:
        folder: where it and the notes lie.
        pip: what the installation does, in shell.
        plan: what the listing of the planned packages prints.
        pip_version: the pip that a new environment has.
        renewed: the pip after its renewal; empty if that fails.
        dry_run: what the planning does.
    """
    script, notes, version = folder / "fakepython", folder / "calls", folder / "pip_version"
    version.write_text(pip_version)
    renew = f"echo {renewed} > {version}; exit 0" if renewed else "exit 1"
    script.write_text(f"""#!/bin/sh
echo "$*" >> {notes}
case "$*" in
  *ensurepip*) echo 3.11; exit 0;;
  "-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit 0;;
  *"pip --version") echo "pip $(cat {version}) from /somewhere"; exit 0;;
  *"--upgrade pip") {renew};;
  *--dry-run*) {dry_run};;
  *package_sizes.py*) printf '{plan}'; exit 0;;
  *"pip install"*) {pip};;
esac
exit 0
""")
    script.chmod(0o755)
    return script


def calls(folder):
    """How it was called, in order."""
    return (folder / "calls").read_text().splitlines()
