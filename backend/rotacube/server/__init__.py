"""The local server: FastAPI on loopback, one job at a time, progress as server-sent events."""
