"""Why a set-up failed, in a sentence, from what pip printed."""

from __future__ import annotations

import re

from ..i18n import tr


def explain(complaint: str, output: str) -> str:
    """The complaint with its reason, where what was printed tells one."""
    for pattern, reason in _reasons():
        if re.search(pattern, output, re.IGNORECASE):
            return f"{complaint} {reason}"
    return complaint + " " + tr("The log says why.")


def _reasons():
    return (
        (r"No space left|not enough space", tr("The disk is full. Make room and try again.")),
        (
            r"ProxyError|407 Proxy|Tunnel connection failed",
            tr("A proxy stands in the way. Set HTTPS_PROXY, or choose a folder with wheels."),
        ),
        (
            r"CERTIFICATE_VERIFY_FAILED|SSLError",
            tr("The server's certificate was not accepted, often because of a proxy. Choose a folder with wheels."),
        ),
        (
            r"Failed to establish a new connection|Temporary failure in name|getaddrinfo|NewConnectionError|refused",
            tr("The package server cannot be reached. Check the network, or choose a folder with wheels."),
        ),
        (
            r"Permission denied|Access is denied|WinError 5",
            tr("Writing was refused. An antivirus program may be the reason."),
        ),
        (
            r"No matching distribution|Could not find a version",
            tr("A package for this Python and system was not found. Try another Python, or another wheel folder."),
        ),
    )
