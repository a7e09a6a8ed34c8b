"""Setting up the managed environment, with a stand-in for Python and pip."""

import pytest
from fixtures import wait
from qgis_plugin import paths
from qgis_plugin.client import environment, install


@pytest.mark.parametrize(
    ("wheels", "last"),
    [
        (
            "https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
            "https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
        ),
        ("/wheels", f"rotacube=={paths.version()}"),
        ("", str(paths.root())),
    ],
)
def test_what_is_installed(qgis_app, wheels, last):
    assert install.what_to_install(wheels)[-1] == last


def run_setup(script, monkeypatch):
    environment.set_setting("base_python", str(script))
    job = install.BackendSetup()
    lines, ends = [], []
    job.line.connect(lines.append)
    job.done.connect(lambda ok, text: ends.append((ok, text)))
    job.start()
    wait(lambda: ends, 30)
    return lines, ends[0]


def fake_python(tmp_path, pip):
    """A Python that answers the probe, "makes" an environment by copying itself, and runs `pip` as it is told."""
    script = tmp_path / "fakepython"
    script.write_text(
        "#!/bin/sh\n"
        'if [ "$1" = -c ]; then echo 3.11; exit 0; fi\n'
        'if [ "$2" = venv ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python"; exit 0; fi\n'
        f"{pip}\n"
    )
    script.chmod(0o755)
    return script


def test_set_up(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    lines, (ok, text) = run_setup(fake_python(tmp_path, 'echo "Collecting torch"; exit 0'), monkeypatch)
    assert ok and "set up" in text and "Collecting torch" in lines
    assert environment.managed_is_complete()
    assert environment.find_python().path == str(tmp_path / "home" / "env" / "bin" / "python")


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection: [Errno -3]", "cannot be reached"),
        ("ERROR: No matching distribution found for torch", "was not found"),
        ("something else", "log above says why"),
    ],
)
def test_set_up_that_fails_says_why(qgis_app, tmp_path, monkeypatch, said, words):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    _, (ok, text) = run_setup(fake_python(tmp_path, f'echo "{said}"; exit 1'), monkeypatch)
    assert not ok and "could not be installed" in text and words in text
    assert not environment.managed_is_complete()


def test_set_up_without_a_python(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    script = tmp_path / "old"
    script.write_text("#!/bin/sh\necho 3.8\n")
    script.chmod(0o755)
    _, (ok, text) = run_setup(script, monkeypatch)
    assert not ok and "No Python 3.10 or newer" in text


def test_set_up_can_be_cancelled(qgis_app, tmp_path, monkeypatch):
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    environment.set_setting("base_python", str(fake_python(tmp_path, "exec sleep 60")))
    job = install.BackendSetup()
    titles = []
    job.title.connect(titles.append)
    job.start()
    wait(lambda: any("packages" in title for title in titles))
    job.cancel()
    assert not environment.managed_is_complete()
