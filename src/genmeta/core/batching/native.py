"""Compiles the kernels, the ``.cpp`` files beside this one, at first use, and does without where that is not possible.

The library is kept under ``$GENMETA_KERNELS_CACHE`` or ``~/.cache/genmeta/kernels`` by a name made of everything it
depends on: the source, the compiler and its flags, the processor's features and torch's version. It is built beside its
place and renamed, so two processes that build it at once do not meet; where the cache cannot be written it lives in a
private temporary directory. Without a compiler nothing is said: the plain formulations give the same numbers.

``GENMETA_KERNELS`` chooses: ``auto`` (default), ``off`` (never), ``on`` (fail with the reason if it cannot be had).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor

from genmeta.core.errors import RunError, unknown

SOURCES = tuple(Path(__file__).with_name(name) for name in ("kernels.cpp", "patches.cpp", "winograd.cpp"))
HEADER = Path(__file__).with_name("vectors.h")
CHOICES = ("auto", "off", "on")
FLAGS = (
    "-O3",
    "-std=c++17",
    "-fPIC",
    "-march=native",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
    "-fno-ipa-cp-clone",  # of long straight code: it gains nothing and takes most of the time
)
#: With several threads, on the OpenMP runtime that torch has loaded already; or with one.
VARIANTS = (("-fopenmp",), ("-fopenmp-simd",), ())
SECONDS = 300
#: Kernels that hold vectors in registers take channels in multiples of this many, a vector of the widest processors.
LANES = 16


class Shape(ctypes.Structure):
    """``Shape`` of ``kernels.cpp``."""

    _fields_ = [
        *((name, ctypes.c_long) for name in ("images", "height", "width_px", "channels", "span", "width", "per_row")),
        *((name, ctypes.c_int) for name in ("pool", "fixed", "threads")),
        *((name, ctypes.c_double) for name in ("slope", "eps")),
    ]


def choice() -> str:
    """``GENMETA_KERNELS``.

    Raises:
        UsageError: it is none of ``auto``, ``on`` and ``off``.
    """
    chosen = os.environ.get("GENMETA_KERNELS", "auto")
    if chosen not in CHOICES:
        raise unknown("value of GENMETA_KERNELS", chosen, CHOICES)
    return chosen


def library() -> ctypes.CDLL | None:
    """The compiled kernels, or ``None`` where they cannot or must not be had.

    Raises:
        RunError: ``GENMETA_KERNELS=on`` and they cannot be had.
    """
    chosen = choice()
    if chosen == "off":
        return None
    found, reason = _load()
    if found is None and chosen == "on":
        raise RunError(f"GENMETA_KERNELS=on, but the kernels cannot be had: {reason}. Install g++, or set it to auto.")
    return found


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can take this tensor: real CPU numbers of a type they know, and no tracing or transform."""
    plain = type(tensor) in (Tensor, torch.nn.Parameter) and tensor.device.type == "cpu"
    if not plain or tensor.dtype not in (torch.float32, torch.float64) or tensor.numel() == 0:
        return False
    traced = torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.onnx.is_in_onnx_export()
    return not traced and not torch._C._functorch.peek_interpreter_stack() and library() is not None


def call(name: str, dtype: torch.dtype, shape: ctypes.Structure, *arguments: Tensor | None) -> None:
    """Runs a kernel: tensors as pointers to their numbers, ``None`` as a null pointer."""
    pointers = [None if tensor is None else tensor.data_ptr() for tensor in arguments]
    _function(name, dtype, 1 + len(pointers))(ctypes.addressof(shape), *pointers)


@functools.cache
def _function(name: str, dtype: torch.dtype, count: int) -> Callable[..., None]:
    found = library()
    if found is None:
        raise TypeError("the kernels were there a moment ago")
    function = found[f"{name}_{'float' if dtype == torch.float32 else 'double'}"]
    function.argtypes, function.restype = [ctypes.c_void_p] * count, None
    return function


@functools.cache
def _load() -> tuple[ctypes.CDLL | None, str]:
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++") or shutil.which("c++")
    if not compiler:
        return None, "no C++ compiler was found"
    reason = ""
    for variant in VARIANTS:
        try:
            return ctypes.CDLL(str(_built(compiler, variant))), ""
        except subprocess.TimeoutExpired as error:
            return None, str(error)  # another variant would take as long
        except (OSError, subprocess.SubprocessError) as error:
            said = getattr(error, "stderr", None)
            reason = (said.strip().splitlines() or [""])[0] if said else str(error)
    return None, reason


def _built(compiler: str, variant: tuple[str, ...]) -> Path:
    """The library, built if it is not there."""
    parts = [
        *(source.read_text(encoding="utf-8") for source in (HEADER, *SOURCES)),
        compiler,
        *FLAGS,
        *variant,
        _processor(),
        torch.__version__,
    ]
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:20]
    path = _directory() / f"kernels-{key}.so"
    if path.is_file():
        return path
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as place:
        objects = [Path(place) / f"{source.stem}.o" for source in SOURCES]
        with ThreadPoolExecutor(len(SOURCES)) as together:
            commands = [["-c", str(s), *variant, "-o", str(o)] for s, o in zip(SOURCES, objects, strict=True)]
            list(together.map(functools.partial(_run, compiler), commands))
        _run(compiler, [*map(str, objects), *variant, "-shared", "-o", str(Path(place) / path.name)])
        os.replace(Path(place) / path.name, path)
    return path


def _run(compiler: str, arguments: list[str]) -> None:
    subprocess.run([compiler, *FLAGS, *arguments], check=True, capture_output=True, text=True, timeout=SECONDS)


@functools.cache
def _directory() -> Path:
    """The cache, or a private directory for this process where the cache cannot be written."""
    named = os.environ.get("GENMETA_KERNELS_CACHE")
    try:
        path = Path(named).expanduser() if named else Path.home() / ".cache" / "genmeta" / "kernels"
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(path, os.W_OK | os.X_OK):
            return path
    except (OSError, RuntimeError):
        pass  # no home, a read-only one, or a file where the directory should be
    return Path(tempfile.mkdtemp(prefix="genmeta-kernels-"))


def _processor() -> str:
    """What ``-march=native`` depends on."""
    features = ""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            features = next((line for line in info if line.startswith(("flags", "Features"))), "")
    except OSError:
        pass
    return f"{platform.machine()} {platform.processor()} {features}"
