"""How a run becomes several processes: started here, by torchrun, or by Slurm."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from datetime import timedelta

import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import DDPStrategy

from genmeta.core.errors import RunError, UsageError

#: How long a process waits for the others before it takes them for lost. Validation and the building of a weight bank
#: lie within; a process that dies on a machine that goes on is noticed at once.
PATIENCE = timedelta(minutes=15)

#: Seconds that this process has to notice by itself that one it started has died.
GRACE = 20.0

_started: list[subprocess.Popen[bytes]] = []
_left = threading.Event()


@dataclass(frozen=True)
class Place:
    """Where this process stands among those of its run.

    Attributes:
        rank: its number among all processes; process 0 leads: it alone writes.
        local_rank: its number on this machine.
        devices: processes on this machine.
        nodes: machines.
        outside: the processes are started by torchrun or Slurm.
    """

    rank: int = 0
    local_rank: int = 0
    devices: int = 1
    nodes: int = 1
    outside: bool = False

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes

    @property
    def leads(self) -> bool:
        """Whether this process writes the run directory and speaks for all."""
        return self.rank == 0


def find_place(devices: int, nodes: int) -> Place:
    """Reads from the environment which process this is.

    Args:
        devices: processes (GPUs, or CPU processes) of each machine that were asked for; 0 for one, or as many as
            torchrun started.
        nodes: machines that were asked for.

    Raises:
        UsageError: torchrun or Slurm started another number of processes than was asked for.
    """
    if torch.distributed.is_available() and torch.distributed.is_torchelastic_launched():
        world, local = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_WORLD_SIZE"])
        if devices not in (0, local) or (nodes > 1 and nodes * local != world):
            raise UsageError(
                f"torchrun started {world} processes, {local} on this machine, but --devices {devices} --nodes {nodes} "
                "asks for others. Leave both out: torchrun's own count is taken."
            )
        return Place(int(os.environ["RANK"]), int(os.environ["LOCAL_RANK"]), local, world // local, outside=True)
    devices = devices or 1
    tasks = int(os.environ.get("SLURM_NTASKS", "1")) if os.environ.get("SLURM_JOB_NAME", "bash") != "bash" else 1
    if devices * nodes > 1 and tasks > 1:
        if tasks != devices * nodes:
            raise UsageError(
                f"Slurm started {tasks} tasks, but --devices {devices} --nodes {nodes} asks for {devices * nodes}. "
                "Set --ntasks-per-node to the number of devices and --nodes alike in both."
            )
        return Place(int(os.environ["SLURM_PROCID"]), int(os.environ["SLURM_LOCALID"]), devices, nodes, outside=True)
    local_rank = int(os.environ.get("LOCAL_RANK", "0")) if devices > 1 else 0
    node = int(os.environ.get("NODE_RANK", "0")) if nodes > 1 else 0
    return Place(node * devices + local_rank, local_rank, devices, nodes)


def join(place: Place, accelerator: str) -> Fabric:
    """Starts the other processes of this machine where nobody else does, and waits until all have met.

    The others run this very command again, up to this call.

    Raises:
        RunError: the processes do not find each other.
    """
    if place.size == 1:
        return Fabric(accelerator=accelerator, devices=1)
    if not place.outside:
        if place.nodes > 1 and "MASTER_ADDR" not in os.environ:
            raise UsageError(
                f"--nodes {place.nodes} needs to know the first machine: set MASTER_ADDR (and NODE_RANK on each), or "
                "start the run with torchrun or srun, which do."
            )
        os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
        os.environ.setdefault("MASTER_PORT", str(_free_port()) if place.nodes == 1 else "29400")
        os.environ.update(
            WORLD_SIZE=str(place.size),
            LOCAL_RANK=str(place.local_rank),
            NODE_RANK=str(place.rank // place.devices),
        )
        if place.local_rank == 0 and not _started:
            command = _this_command()
            _started.extend(
                subprocess.Popen(command, env={**os.environ, "LOCAL_RANK": str(local_rank)})
                for local_rank in range(1, place.devices)
            )
            threading.Thread(target=_watch, args=(list(_started),), daemon=True).start()
    strategy = DDPStrategy(timeout=PATIENCE)
    fabric = Fabric(accelerator=accelerator, devices=place.devices, num_nodes=place.nodes, strategy=strategy)
    try:
        if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True":
            _meet_under_torchrun(place, "nccl" if fabric.device.type == "cuda" else "gloo")
        fabric.launch()
    except (RuntimeError, OSError) as error:
        raise RunError(
            f"The {place.size} processes of this run did not find each other ({error}). Check that each machine runs "
            "the same command and can reach MASTER_ADDR."
        ) from error
    return fabric


def _meet_under_torchrun(place: Place, backend: str) -> None:
    """Forms the process group, so that Fabric finds it there, from addresses of this attempt alone.

    torchrun's own store may outlive its workers, and still hold the addresses of those that died: the others would try
    to reach them, fail, and use up ``--max-restarts``.
    """
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    store = torch.distributed.TCPStore(address, port, place.size, is_master=False, timeout=PATIENCE)
    own = torch.distributed.PrefixStore(f"attempt_{os.environ['TORCHELASTIC_RESTART_COUNT']}", store)
    torch.distributed.init_process_group(backend, store=own, rank=place.rank, world_size=place.size, timeout=PATIENCE)


def leave(place: Place) -> None:
    """Ends the company of processes; those that were started here have the time to end by themselves."""
    _left.set()
    if place.size > 1 and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    while _started:
        try:
            _started.pop().wait(timeout=30)
        except subprocess.TimeoutExpired:
            continue  # it will notice that the leader is gone


def _watch(started: list[subprocess.Popen[bytes]]) -> None:
    """Ends this process if one that it started has died and nothing here has noticed.

    That may be while they are still meeting, or in a wait that the network library does not give up.
    """
    while not _left.wait(1.0):
        died = [process for process in started if process.poll()]
        if died and not _left.wait(GRACE):
            for process in started:
                process.kill()
            sys.stderr.write(
                f"error: A process of this run died (exit code {died[0].returncode}; its own message stands above, if "
                "it could say why). The last saved state is whole: run the same command with --resume.\n"
            )
            sys.stderr.flush()
            os._exit(2)  # the main thread may hang in a wait that only the end of the process ends


def threads_each(threads: int, place: Place) -> int:
    """CPU threads of this process: what was asked for, else a fair share of the machine's cores."""
    return threads or (max(1, (os.cpu_count() or 1) // place.devices) if place.devices > 1 else 0)


def _this_command() -> list[str]:
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return [sys.executable, "-m", main.__spec__.name, *sys.argv[1:]]
    return [sys.executable, os.path.abspath(sys.argv[0]), *sys.argv[1:]]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
