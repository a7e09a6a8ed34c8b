"""Run by the new environment's Python: `package_sizes.py REPORT`: name, version, file, bytes of each package.

REPORT is what `pip install --dry-run --report` wrote. A size that the server does not tell is left empty. It asks with
pip's own HTTP library, so that the same proxies and certificates hold.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

PATIENCE_S = 15


def main():
    """Print a line for each package."""
    planned = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))["install"]
    with ThreadPoolExecutor(8) as pool:
        for line in pool.map(describe, planned):
            print(line)


def describe(item):
    """A package's line, its fields separated by tabs."""
    url = item["download_info"]["url"]
    file = unquote(urlsplit(url).path.rstrip("/").rpartition("/")[2])
    try:
        size = str(size_of(url))
    except Exception:  # whatever it is: then the size is not known
        size = ""
    return "\t".join((item["metadata"]["name"], item["metadata"]["version"], file, size))


def size_of(url):
    """How many bytes lie there."""
    if url.startswith("file:"):
        path = Path(url2pathname(urlsplit(url).path))
        return path.stat().st_size if path.is_file() else ""
    from pip._vendor import requests

    answer = requests.head(url, timeout=PATIENCE_S, allow_redirects=True, verify=os.environ.get("PIP_CERT") or True)
    answer.raise_for_status()
    return int(answer.headers["Content-Length"])


if __name__ == "__main__":
    main()
