"""The colours of reports, each with its twin for dark screens. Pages and plots share them.

Plots are drawn in the light colours and :mod:`genmeta.reports.svg` turns these into CSS variables, so that one picture
serves both. The series colours go back to Okabe and Ito, "Color universal design", 2008
(https://jfly.uni-koeln.de/color/), darkened or lightened until they stand out from either background.
"""

from __future__ import annotations

INK, MUTED, LINE, PAGE, CARD = "#1c2127", "#5d6670", "#dde1e6", "#f6f7f9", "#fffffe"
GOOD, BAD, ACCENT = "#15803c", "#c0262d", "#1f5fb0"

#: (light, dark, marker) for each series of a plot; told apart by the marker too.
SERIES = (
    ("#0069ad", "#58b1f5", "o"),
    ("#cf5600", "#ff9353", "s"),
    ("#008a65", "#3bcf9f", "^"),
    ("#a4478a", "#e79bd0", "D"),
    ("#a87900", "#f0c04e", "v"),
    ("#2b9cc9", "#9adcf7", "P"),
    ("#545d6b", "#b4bcc8", "X"),
)

#: CSS variable -> (light, dark).
VARIABLES: dict[str, tuple[str, str]] = {
    "--ink": (INK, "#e7eaee"),
    "--muted": (MUTED, "#9aa4b0"),
    "--line": (LINE, "#343a43"),
    "--page": (PAGE, "#121519"),
    "--card": (CARD, "#1a1e24"),
    "--good": (GOOD, "#4ac26b"),
    "--bad": (BAD, "#ff7b72"),
    "--accent": (ACCENT, "#79b0ff"),
    **{f"--series-{at}": (light, dark) for at, (light, dark, _) in enumerate(SERIES)},
}

#: Light colour -> CSS variable.
BY_COLOUR = {light: name for name, (light, _) in VARIABLES.items()}


def series(at: int) -> tuple[str, str, str]:
    """Colour, marker and line style of series ``at``; colours come again after seven, with another line."""
    colour, _, marker = SERIES[at % len(SERIES)]
    return colour, marker, ("-", "--", "-.", ":")[at // len(SERIES) % 4]
