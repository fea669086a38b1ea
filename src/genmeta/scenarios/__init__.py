"""Scenarios: how tasks arrive and how methods are scored."""

from genmeta.scenarios.few_shot import Comparison, compare, open_tasks, provenance, score

__all__ = ["Comparison", "compare", "open_tasks", "provenance", "score"]
