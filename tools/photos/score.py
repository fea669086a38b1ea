"""Lines for ``merge.py`` from saved heads, weighed as a checkpoint says.

python tools/photos/score.py --heads HEADS.pt --run fitted.pt --name generated --out PART.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from table import line_of, load
from trust import heads_in

from genmeta.core.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--heads", type=Path, required=True)
    parser.add_argument("--run", required=True)
    parser.add_argument("--name", required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    it = load(args.run)
    entries = torch.load(args.heads, weights_only=True)
    lines = []
    with torch.no_grad():
        for entry in entries:
            logits = heads_in(entry).logits(it.sharpness, it.fallback)
            row = f"{args.name}, {entry['step']} steps"
            lines.append(line_of(entry["set"], entry["shots"], entry["episode"], row, logits, entry["targets"]))
    write_text(args.out, json.dumps(lines))


if __name__ == "__main__":
    main()
