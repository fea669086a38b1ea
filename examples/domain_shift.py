"""Domain shift: a generator reads an unseen style of writing off a few images without labels and writes norms for it.

Ten digits, each written at one of six angles; training sees four of them, and is asked about the two that it has never
seen. `erm` is one network for all styles; `domain-film` sees ten unlabelled images of the new one. About a minute.
"""

import argparse
import tempfile

import genmeta
from genmeta.engine import load
from genmeta.scenarios.domain import worst_difference
from genmeta.scenarios.protocols import Protocol, domain_rows


def main(arguments: list[str] | None = None) -> dict[str, float]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="rotated-digits?size=16", help="or glyph-styles, or domains:PATH")
    parser.add_argument("--hold-out", default="0 degrees,75 degrees", help="domains that training never sees")
    parser.add_argument("--steps", type=int, default=150, help="meta-steps of each training")
    parser.add_argument("--shots", type=int, default=10, help="unlabelled images of the new domain")
    parser.add_argument("--episodes", type=int, default=10, help="of each domain")
    options = parser.parse_args(arguments)

    with tempfile.TemporaryDirectory() as runs:
        trained = {}
        for method in ("erm", "domain-film"):
            config = genmeta.TrainConfig(
                method=method, scenario="domain", data=options.data, hold_out=options.hold_out, run=f"{runs}/{method}",
                shots=str(options.shots), queries=20, steps=options.steps, tasks_per_batch=4, width=32, lr=3e-3,
                validate_tasks=4,
            )  # fmt: skip
            genmeta.train(config)
            trained[method] = load(config.run)
        scores = domain_rows(
            trained, options.data, Protocol(scenario="domain"), shots=options.shots, queries=30,
            episodes=options.episodes,
        )  # fmt: skip

    for name, found in scores.items():
        domains = ", ".join(f"{domain} {100 * each.mean():.1f} %" for domain, each in found.accuracy.items())
        print(f"{name}: {100 * found.average.mean():.1f} % on average ({domains}); worst: {found.worst[0]}")
    gap = worst_difference(scores["domain-film"], scores["erm"])
    print(f"domain-film less erm on the worst domain: {gap} points")
    return {name: float(found.average.mean()) for name, found in scores.items()}


if __name__ == "__main__":
    main()
