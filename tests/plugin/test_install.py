"""Setting up the managed environment, with a stand-in for Python and pip."""

import gc
import time

import fake_python
import pytest
from fixtures import wait
from qgis.PyQt.QtTest import QTest
from qgis_plugin import paths
from qgis_plugin.client import environment, install, packages
from qgis_plugin.client.gpu import Gpu


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch, qgis_app):
    """A fresh place for the managed environment."""
    monkeypatch.setenv("ROTACUBE_HOME", str(tmp_path / "home"))
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "home"


class Told:
    """What a set-up told."""

    def __init__(self, python, build=packages.CPU):
        environment.set_setting("base_python", str(python))
        self.job = install.BackendSetup(build)
        self.lines, self.progress, self.ends = [], [], []
        self.job.line.connect(self.lines.append)
        self.job.progressed.connect(self.progress.append)
        self.job.done.connect(lambda ok, text: self.ends.append((ok, text)))
        self.job.start()

    def end(self):
        wait(lambda: self.ends, 30)
        return self.ends[0]


@pytest.mark.parametrize(
    ("wheels", "last"),
    [
        (
            "https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
            "rotacube[train,frames] @ https://somewhere/rotacube-0.1.0-py3-none-any.whl#sha256=1",
        ),
        ("/wheels/rotacube-0.1.0-py3-none-any.whl", "/wheels/rotacube-0.1.0-py3-none-any.whl[train,frames]"),
        ("/wheels", f"rotacube[train,frames]=={paths.version()}"),
        ("", f"{paths.root()}[train,frames]"),
    ],
)
def test_what_is_installed(wheels, last):
    assert packages.what_to_install(wheels)[-1] == last


def test_set_up(tmp_path, home):
    told = Told(fake_python.make(tmp_path, 'echo "Collecting torch"; exit 0'))
    ok, text = told.end()
    assert ok and "set up" in text and "Collecting torch" in told.lines
    assert environment.managed_is_complete()
    assert environment.find_python().path == str(home / "env" / "bin" / "python")
    assert [each for each in range(1, 6) if each in {item.step for item in told.progress}] == [1, 2, 3, 5]
    log = environment.setup_log().read_text()
    assert "Collecting torch" in log and log.strip().endswith(text)


def test_progress_is_by_bytes_from_the_download_to_the_last_package(tmp_path, home):
    site = home / "env" / "lib" / "python3.11" / "site-packages"
    pip = f"""
echo "Downloading torch-2.13.0.whl (900 B)"
echo "Progress 0 of 900"; sleep 1.5; echo "Progress 450 of 900"; sleep 1.5; echo "Progress 900 of 900"
echo "Downloading rich-15.0.whl (100 B)"; echo "Progress 100 of 100"
echo "Installing collected packages: rich, torch"
mkdir -p {site}/rich-15.0.dist-info; touch {site}/rich-15.0.dist-info/RECORD; sleep 1.5
mkdir -p {site}/torch-2.13.0.dist-info; touch {site}/torch-2.13.0.dist-info/RECORD; sleep 1; exit 0"""
    told = Told(fake_python.make(tmp_path, pip))
    ok, _ = told.end()
    assert ok
    amounts = {step: [item.amount for item in told.progress if item.step == step and item.amount] for step in (3, 4)}
    assert [a.done for a in amounts[3]] == sorted(a.done for a in amounts[3])
    assert {450} <= {a.done for a in amounts[3]} and all(a.total == 1000 and a.in_bytes for a in amounts[3])
    assert {100, 1000} <= {a.done for a in amounts[4]} and all(a.total == 1000 for a in amounts[4])
    assert not [line for line in told.lines if line.startswith("Progress")]


def test_an_old_pip_is_renewed_and_where_it_cannot_be_it_is_asked_for_no_bytes(tmp_path):
    for renewed in ("26.3", ""):
        (tmp_path / "calls").unlink(missing_ok=True)
        assert Told(fake_python.make(tmp_path, pip_version="23.2.1", renewed=renewed)).end()[0]
        installing = fake_python.calls(tmp_path)[-2]
        assert "pip install" in installing and ("--progress-bar raw" in installing) == bool(renewed)


def test_a_pip_that_cannot_plan_installs_nevertheless(tmp_path):
    old = fake_python.make(tmp_path, dry_run='echo "no such option: --dry-run"; exit 2', pip_version="22", renewed="")
    assert Told(old).end()[0]


def test_more_than_was_agreed_to_is_not_downloaded(tmp_path):
    told = Told(fake_python.make(tmp_path, plan="torch\t2.13.0\ttorch.whl\t3000000000\\n"))
    ok, text = told.end()
    assert not ok and "3.0 GB instead of 0.3 GB" in text
    assert "--dry-run" in fake_python.calls(tmp_path)[-2] and not environment.managed_is_complete()


def test_the_build_for_the_cpu_comes_from_pytorchs_index_unless_the_user_names_one(tmp_path, monkeypatch):
    index = ["--extra-index-url", packages.CPU.index]
    assert packages.CPU.index.endswith("/cpu") and packages.where_from(packages.CPU) == index
    assert packages.where_from(packages.CUDA) == []  # the package index's own build on Linux
    environment.set_setting("pip_options", "--retries 3")
    assert packages.where_from(packages.CPU) == ["--retries", "3", *index]
    environment.set_setting("pip_options", "--no-index --find-links '/my wheels'")
    assert packages.where_from(packages.CPU) == ["--no-index", "--find-links", "/my wheels"]
    environment.set_setting("pip_options", "")
    monkeypatch.setenv("PIP_INDEX_URL", "https://mirror/simple")
    assert packages.where_from(packages.CPU) == []


def test_cuda_is_advised_where_the_driver_can_do_it():
    assert packages.choices(None) == [packages.CPU]
    assert packages.choices(Gpu("RTX 3060", "580.65.06")) == [packages.CUDA, packages.CPU]
    assert packages.choices(Gpu("GTX 1060", "470.82")) == [packages.CPU, packages.CUDA]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("Failed to establish a new connection: [Errno -3]", "cannot be reached"),
        ("ERROR: No matching distribution found for torch", "was not found"),
        ("something else", "log says why"),
    ],
)
@pytest.mark.parametrize("when", ["pip", "dry_run"])
def test_set_up_that_fails_says_why(tmp_path, said, words, when):
    told = Told(fake_python.make(tmp_path, **{when: f'echo "{said}"; exit 1'}))
    ok, text = told.end()
    assert not ok and "could not be installed" in text and words in text
    assert not environment.managed_is_complete()
    assert said in environment.setup_log().read_text()


def test_a_set_up_over_one_that_was_whole_counts_only_when_it_is_whole_again(tmp_path):
    assert Told(fake_python.make(tmp_path)).end()[0] and environment.managed_is_complete()
    assert not Told(fake_python.make(tmp_path, "exit 1")).end()[0]
    assert not environment.managed_is_complete()


def test_set_up_without_a_python(tmp_path):
    script = tmp_path / "old"
    script.write_text("#!/bin/sh\necho 3.8\n")
    script.chmod(0o755)
    ok, text = Told(script).end()
    assert not ok and "No Python 3.11 or newer" in text


def test_set_up_on_a_full_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: Full)
    ok, text = Told(fake_python.make(tmp_path)).end()
    assert not ok and "Less than 1.9 GB are free" in text


class Full:
    free = 1_600_000_000


def test_set_up_can_be_cancelled(tmp_path):
    told = Told(fake_python.make(tmp_path, "exec sleep 60"))
    wait(lambda: told.progress[-1].step == 3)
    before = time.monotonic()
    told.job.cancel()
    assert time.monotonic() - before < 1 and not told.ends
    assert not environment.managed_is_complete()


def test_one_that_nobody_holds_any_more_ends_quietly(tmp_path):
    """Its process ends with it, and nothing is called of what is taken apart: an error there would end QGIS."""
    held = [Told(fake_python.make(tmp_path, "echo begun; exec sleep 60"))]
    wait(lambda: "begun" in held[0].lines)
    held.clear()
    for _ in range(3):
        gc.collect()
    QTest.qWait(50)
