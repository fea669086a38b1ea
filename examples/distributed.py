"""Several processes: the tasks of a meta-step are dealt out, and the result is that of one process.

``python examples/distributed.py --devices 2`` starts the second process by itself: it runs this script again up to the
call of ``train``. Under torchrun leave ``--devices`` out. docs/scale.md has clusters.
"""

import argparse
import json
import os
from pathlib import Path

import genmeta


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", type=int, default=0, help="processes of this machine: GPUs, or CPU processes")
    parser.add_argument("--method", default="maml", help="see genmeta list methods")
    parser.add_argument("--data", default="glyphs", help="see genmeta list datasets")
    parser.add_argument("--steps", type=int, default=50, help="meta-steps")
    parser.add_argument("--width", type=int, default=32, help="channels of the network")
    parser.add_argument("--run", default="runs/distributed", help="run directory; process 0 alone writes it")
    options = parser.parse_args(arguments)

    config = genmeta.TrainConfig(
        method=options.method, data=options.data, run=options.run, steps=options.steps, width=options.width,
        tasks_per_batch=8, validate_tasks=10, devices=options.devices,
    )  # fmt: skip
    # from here on, every process does its share of the tasks; --devices 1 and 2 end at the same weights, up to rounding
    genmeta.train(config, resume=True)

    # every process comes back from train(); the first one wrote the run directory, so it speaks
    if int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) == 0:
        lines = (Path(options.run) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        last = json.loads(lines[-1])
        print("last line of metrics.jsonl:", {name: last[name] for name in list(last)[:6]})


if __name__ == "__main__":
    main()
