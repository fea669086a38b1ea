"""Settings of the process that cost nothing and are worth a lot on CPUs."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

import torch

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


def use_threads(threads: int) -> None:
    """Limits torch to ``threads`` CPU threads; 0 leaves its own choice."""
    if threads > 0:
        torch.set_num_threads(threads)


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
