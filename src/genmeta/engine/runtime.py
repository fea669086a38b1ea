"""Settings of the process that cost nothing and are worth a lot on CPUs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shlex
import sys
from pathlib import Path

import torch
from torch import nn

from genmeta.core.errors import UsageError
from genmeta.learners import Learner

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> bool:
    """Asks glibc to keep freed memory instead of handing it back to the kernel after every layer.

    Meta-training allocates and frees the same few megabytes thousands of times a second; without this a third of the
    time goes into the kernel clearing pages. Returns whether the C library took it.
    """
    if not sys.platform.startswith("linux"):
        return False
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        settings = ((_M_MMAP_THRESHOLD, 1 << 30), (_M_TRIM_THRESHOLD, (1 << 31) - 1), (_M_TOP_PAD, 64 << 20))
        return all(mallopt(parameter, value) for parameter, value in settings)
    return False


#: Beyond some thousands of threads, OpenMP ends the process.
MOST_THREADS = 1024


def use_threads(threads: int) -> None:
    """Limits torch to ``threads`` CPU threads; 0 leaves its own choice.

    Raises:
        UsageError: a negative number, or more than :data:`MOST_THREADS`, for which OpenMP ends the process.
    """
    if not 0 <= threads <= MOST_THREADS:
        raise UsageError(f"--threads takes a number from 0 to {MOST_THREADS}, got {threads}.")
    if threads > 0:
        torch.set_num_threads(threads)


def check_precision(module: nn.Module) -> None:
    """Refuses mixed and half precision.

    An inner loop adds many small steps to weights and, to second order, differentiates them again; in 16 bits the steps
    are lost to rounding and the derivatives overflow, without a sign that anything went wrong.

    Raises:
        UsageError: autocast is on, or the weights are not float32 or float64.
    """
    if any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda")):
        raise UsageError(
            "torch's automatic mixed precision is on, in which inner-loop steps are lost to rounding. Leave the "
            "torch.autocast block; genmeta computes in the precision of its weights."
        )
    for parameter in module.parameters():
        if parameter.dtype not in (torch.float32, torch.float64):
            raise UsageError(
                f"Weights of {parameter.dtype} cannot be used: inner-loop steps are lost to rounding in them. Expected "
                "float32 or float64. Call .float() on it."
            )


def multiply_in(module: nn.Module, precision: str) -> None:
    """Has the convolutions of all learners below ``module`` multiply in ``float32`` or ``bf16`` while they train.

    Unlike torch's automatic mixed precision this leaves everything else as it is: weights and the sums of inner steps,
    norms, the rows' logits, gradients and their second derivatives.

    Raises:
        UsageError: bf16 for a learner that does its convolutions in a way of its own.
    """
    for part in module.modules():
        if isinstance(part, Learner):
            if precision == "bf16" and part.own_convolutions:
                raise UsageError(
                    f"--precision bf16 is for learners that are trained from scratch, not for {part.config.name!r}. "
                    "Leave it out."
                )
            part.precision = torch.bfloat16 if precision == "bf16" else None


def command_line() -> str:
    """The command of this process, as it can be typed again: ``genmeta ...`` or ``python SCRIPT ...``.

    A script below the current folder goes by its path from there, any other by its name.
    """
    script = Path(sys.argv[0])
    if script.stem == "genmeta" or script.parent.name == "genmeta":  # the command, or python -m genmeta
        return shlex.join(["genmeta", *sys.argv[1:]])
    whole, here = script.resolve(), Path.cwd()
    known = whole.relative_to(here) if whole.is_relative_to(here) else script.name
    return shlex.join(["python", str(known), *sys.argv[1:]])


def machine() -> dict[str, str | int]:
    """What a result file says of the machine it was made on."""
    processor = ""
    with contextlib.suppress(OSError), open("/proc/cpuinfo", encoding="utf-8") as info:
        processor = next((line.split(":", 1)[1].strip() for line in info if line.startswith("model name")), "")
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    return {
        "processor": processor or "unknown",
        "cores": os.cpu_count() or 0,
        "threads": torch.get_num_threads(),
        "device": device,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
