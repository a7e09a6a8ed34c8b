"""Builds the compiled operators beside the package; everything else stands in pyproject.toml.

Two plain shared libraries against PyTorch's stable ABI, so that one build serves every Python and every PyTorch from
2.10 on: `rotacube/_lib/librotacube_cpu.so`, and where nvcc is found `librotacube_cuda.so`. They need PyTorch's headers
and a C++17 compiler, so install without build isolation into an environment that has PyTorch:

    pip install --no-build-isolation .

Where one of them is missing or a compile fails, a warning says so and the package is installed without: every operator
then runs on its reference in plain PyTorch.

Environment: CXX (compiler), CUDA_HOME (CUDA toolkit), ROTACUBE_REQUIRE_EXT=1 (a library that cannot be built is an
error), ROTACUBE_SKIP_CUDA=1 (no CUDA library), ROTACUBE_GPU_GENERATIONS (such as 75,80, ascending; all that are named
below if absent), ROTACUBE_SANITIZE=address (the CPU library for AddressSanitizer and UndefinedBehaviorSanitizer, slow,
for tests; `make test-asan` puts it into a folder of its own).
"""

from __future__ import annotations

import configparser
import importlib.util
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
LIBRARIES = {"cpu": "librotacube_cpu.so", "cuda": "librotacube_cuda.so"}
SOURCES = {  # kernels in csrc/cpu and csrc/cuda; csrc/torch registers them with PyTorch, a file an operator
    "cpu": ["csrc/torch/*_cpu.cpp", "csrc/cpu/*.cpp"],
    "cuda": ["csrc/torch/*_cuda.cpp", "csrc/cuda/*.cu"],
}
HEADERS = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "csrc").rglob("*.h"))
TORCH_TARGET = "-DTORCH_TARGET_VERSION=0x020a000000000000"  # 2.10, the oldest PyTorch that the libraries load in
GPU_GENERATIONS = ("75", "80", "86", "89", "90", "100", "120")


class CannotBuildError(Exception):
    """A library cannot be built here; the text says why."""


def version() -> str:
    """Reads the version from where it stands."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read(ROOT / "metadata.txt", encoding="utf-8")
    return parser["general"]["version"]


def is_set(variable: str) -> bool:
    """Says whether an environment variable asks for something."""
    return os.environ.get(variable, "") not in ("", "0")


def torch_folder() -> Path:
    """Finds the installed PyTorch without importing it."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise CannotBuildError(
            "PyTorch is not installed where the build runs; install it first and use --no-build-isolation"
        )
    folder = Path(spec.origin).parent
    if not (folder / "include" / "torch" / "csrc" / "stable" / "library.h").is_file():
        raise CannotBuildError(f"the PyTorch in {folder} has no stable-ABI headers; 2.10 or newer is needed")
    return folder


def find_compiler() -> str:
    """Finds a C++ compiler: CXX, else the usual names."""
    for name in (os.environ.get("CXX", ""), "c++", "g++", "clang++"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise CannotBuildError("there is no C++ compiler (set CXX, or install g++)")


def find_nvcc() -> str | None:
    """Finds nvcc in CUDA_HOME, else on the PATH."""
    home = os.environ.get("CUDA_HOME")
    return (shutil.which("nvcc", path=str(Path(home) / "bin")) if home else None) or shutil.which("nvcc")


def call(command: list[str]) -> str:
    """Runs a tool, shows the command, and returns what it printed."""
    print(" ".join(command), flush=True)
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode != 0:
        print(done.stdout, file=sys.stderr, flush=True)
        raise CannotBuildError(
            f"{Path(command[0]).name} failed with exit status {done.returncode} (its output is above)"
        )
    return done.stdout


def build_cpu(sources: list[str], target: Path, scratch: Path) -> None:
    """Compiles and links the CPU library."""
    torch = torch_folder()
    flags = ["-std=c++17", "-O3", "-DNDEBUG", "-ffp-contract=fast", "-fno-math-errno", "-fPIC", "-fvisibility=hidden"]
    sanitizer = os.environ.get("ROTACUBE_SANITIZE", "")
    if sanitizer not in ("", "address"):
        raise CannotBuildError(f"ROTACUBE_SANITIZE is address or nothing, not {sanitizer}")
    if sanitizer:
        flags += ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer", "-O1", "-g"]
    common = [find_compiler(), *flags, "-Wall", "-Wextra", TORCH_TARGET, "-isystem", str(torch / "include")]
    objects = [str(scratch / f"{Path(source).stem}.o") for source in sources]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        compiled = [
            pool.submit(call, [*common, "-c", source, "-o", object_file])
            for source, object_file in zip(sources, objects, strict=True)
        ]
    for one in compiled:
        print(one.result(), end="")
    built = scratch / target.name
    print(call([*common, *objects, "-shared", "-o", str(built), f"-L{torch / 'lib'}", "-ltorch_cpu"]), end="")
    built.replace(target)


def build_cuda(sources: list[str], target: Path, scratch: Path, nvcc: str) -> None:
    """Compiles and links the CUDA library: kernels for every generation that this nvcc knows, and PTX of the last."""
    torch = torch_folder()
    known = call([nvcc, "--list-gpu-code"])
    chosen = os.environ.get("ROTACUBE_GPU_GENERATIONS", "")
    asked = chosen.replace(",", " ").split() or GPU_GENERATIONS
    wanted = [number for number in asked if f"sm_{number}\n" in known + "\n"]
    if not wanted:
        raise CannotBuildError(f"this nvcc knows none of the GPU generations {' '.join(asked)}")
    generations = [f"-gencode=arch=compute_{number},code=sm_{number}" for number in wanted]
    generations.append(f"-gencode=arch=compute_{wanted[-1]},code=compute_{wanted[-1]}")
    folder = torch / "lib"
    if not (folder / "libtorch_cuda.so").is_file():  # PyTorch for CPU: an empty library lends the name to link against
        folder = scratch / "stub"
        folder.mkdir(exist_ok=True)
        empty = folder / "empty.cpp"
        empty.write_text("", encoding="utf-8")
        stub = str(folder / "libtorch_cuda.so")
        call([find_compiler(), "-shared", "-fPIC", "-Wl,-soname,libtorch_cuda.so", str(empty), "-o", stub])
    built = scratch / target.name
    flags = ["-std=c++17", "-O3", "-DNDEBUG", "-DUSE_CUDA", TORCH_TARGET, "-isystem", str(torch / "include")]
    output = call(
        [nvcc, "--threads=0", *flags, *generations, "-Xcompiler=-fPIC,-fvisibility=hidden,-Wall", *sources]
        + ["-cudart=static", "-Xlinker=--exclude-libs=ALL,--no-as-needed", "-shared", "-o", str(built)]
        + [f"-L{folder}", "-ltorch_cuda", f"-L{torch / 'lib'}", "-ltorch_cpu"]
    )
    print(output, end="")
    built.replace(target)


class BuildLibraries(build_ext):
    """Builds plain shared libraries under their own names, and goes on without those that cannot be built."""

    def run(self) -> None:
        """Builds what can be built; only that counts as part of the distribution afterwards."""
        self.in_source_tree = bool(self.inplace)
        super().run()
        self.distribution.ext_modules = self.extensions

    def build_extensions(self) -> None:
        """Builds each library, or says why not."""
        kept = []
        for extension in self.extensions:
            target = Path(self.get_ext_fullpath(extension.name))
            scratch = Path(self.build_temp).resolve()
            scratch.mkdir(parents=True, exist_ok=True)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            try:
                if extension.name.endswith(".cpu"):
                    build_cpu(extension.sources, target, scratch)
                else:
                    nvcc = find_nvcc()
                    if nvcc is None or is_set("ROTACUBE_SKIP_CUDA"):
                        why = "there is no nvcc" if nvcc is None else "ROTACUBE_SKIP_CUDA is set"
                        print(f"rotacube: {target.name} is not built: {why}.", flush=True)
                        self._remove_old(target.name)
                        continue
                    build_cuda(extension.sources, target, scratch, nvcc)
            except (CannotBuildError, OSError) as error:
                if is_set("ROTACUBE_REQUIRE_EXT"):
                    raise SystemExit(f"rotacube: {target.name} cannot be built: {error}.") from error
                print(
                    f"\nWARNING: rotacube: {target.name} is not built: {error}.\n"
                    "WARNING: rotacube is installed without it; operators run on their PyTorch references, slower.\n",
                    file=sys.stderr,
                    flush=True,
                )
                self._remove_old(target.name)
                continue
            kept.append(extension)
        self.extensions = kept

    def copy_extensions_to_source(self) -> None:
        """Puts new libraries into the source tree, each in one step: a program finds the old file or the new one."""
        folder = ROOT / "backend" / "rotacube" / "_lib"
        folder.mkdir(exist_ok=True)
        for extension in self.extensions:
            target = folder / LIBRARIES[extension.name.rpartition(".")[2]]
            new = target.with_suffix(".new.so")
            shutil.copy2(Path(self.build_lib) / self.get_ext_filename(extension.name), new)
            new.replace(target)

    def _remove_old(self, name: str) -> None:
        """Removes a library of an earlier build from the source tree, lest it be taken for this build's."""
        if self.in_source_tree:
            (ROOT / "backend" / "rotacube" / "_lib" / name).unlink(missing_ok=True)

    def get_ext_filename(self, fullname: str) -> str:
        """Returns the library's own name: it is no Python module and knows no Python version."""
        *folders, kind = fullname.split(".")
        return str(Path(*folders) / LIBRARIES[kind])


class BuildPython(build_py):
    """Takes the models that ship along into the package."""

    def run(self) -> None:
        """Copies `resources/models` to `rotacube/resources/models` of a wheel; a checkout reads them where they are."""
        super().run()
        models = ROOT / "resources" / "models"
        if self.editable_mode or not models.is_dir():
            return
        target = Path(self.build_lib) / "rotacube" / "resources" / "models"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(models, target)


class BuildWheel(bdist_wheel):
    """Tags the wheel by what is in it: with a library one platform and any Python 3, without one any platform."""

    def run(self) -> None:
        """Builds first, since only then it is known whether there is a library."""
        if not self.skip_build:
            self.run_command("build")
        self.root_is_pure = not self.distribution.has_ext_modules()
        super().run()

    def get_tag(self) -> tuple[str, str, str]:
        """Returns py3-none-<platform>, or py3-none-any."""
        platform = super().get_tag()[2]
        return "py3", "none", "any" if self.root_is_pure else platform


setup(
    version=version(),
    ext_modules=[
        Extension(
            f"rotacube._lib.{kind}",
            sorted(str(path.relative_to(ROOT)) for pattern in patterns for path in ROOT.glob(pattern)),
            depends=HEADERS,
        )
        for kind, patterns in SOURCES.items()
    ],
    cmdclass={"build_ext": BuildLibraries, "build_py": BuildPython, "bdist_wheel": BuildWheel},
)
