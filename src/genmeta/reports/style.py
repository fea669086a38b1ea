"""The style sheet of the page."""

from __future__ import annotations

from genmeta.reports.colours import VARIABLES

_RULES = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--page);color:var(--ink);font:1rem/1.6 var(--sans);overflow-wrap:break-word}
main,header,footer{max-width:66rem;margin:0 auto;padding:0 clamp(1rem,4vw,2.5rem)}
header{padding-top:clamp(2rem,6vw,4rem);padding-bottom:.5rem}
h1{font-size:clamp(1.6rem,5vw,2.4rem);line-height:1.15;letter-spacing:-.02em;margin:0 0 .75rem;text-wrap:balance}
h2{font-size:1.35rem;line-height:1.25;letter-spacing:-.01em;margin:0 0 .5rem}
p{margin:0 0 1rem;max-width:44rem}
.summary{font-size:1.15rem;line-height:1.55;color:var(--muted)}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;padding:.75rem 0 0;margin:0;
  border-top:1px solid var(--line)}
a{color:var(--accent);text-decoration:none}
a:hover,a:focus-visible{text-decoration:underline}
section{margin:2.75rem 0;scroll-margin-top:1rem}
.pictures{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,24rem),1fr));gap:1.25rem;margin:1.25rem 0}
figure{margin:0;background:var(--card);border:1px solid var(--line);border-radius:.75rem;
  padding:clamp(.6rem,2vw,1.25rem);min-width:0;display:flex;flex-direction:column}
figure.wide{grid-column:1/-1}
.frame{overflow-x:auto}
.frame>svg,.frame>img{display:block;width:100%;height:auto;margin:0 auto}
.frame>svg{max-width:calc(var(--width)*1.1)}
.frame>img{width:auto;max-width:100%}
svg text{font-family:var(--sans)!important}
svg *{stroke-linejoin:round;stroke-linecap:butt}
figcaption,.caption{color:var(--muted);font-size:.875rem;line-height:1.5}
figcaption{padding-top:.75rem;margin-top:auto}
.table{background:var(--card);border:1px solid var(--line);border-radius:.75rem;margin:1.25rem 0;
  padding:.35rem clamp(.6rem,2vw,1.25rem) .75rem}
.frame:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%;font-size:.85rem;font-variant-numeric:tabular-nums lining-nums}
.caption{padding-top:.75rem;margin:0;max-width:none;border-top:1px solid var(--line)}
th,td{padding:.5rem .45rem;text-align:left;vertical-align:baseline;border-bottom:1px solid var(--line)}
thead th{color:var(--muted);font-weight:600;font-size:.8rem;line-height:1.35;vertical-align:bottom}
tbody tr:last-child>*{border-bottom:0}
tbody th{font-weight:600;min-width:8rem}
th:first-child,td:first-child{padding-left:0}
th:last-child,td:last-child{padding-right:0}
.number{text-align:right}
td.number{white-space:nowrap}
th.number{min-width:4.75rem}
td.none{color:var(--muted)}
td strong{font-weight:700}
footer{padding-top:1rem;padding-bottom:3rem;font-size:.875rem}
footer h2{font-size:1rem}
footer td{font-family:var(--mono);font-size:.8rem;overflow-wrap:anywhere}
footer th{color:var(--muted);white-space:nowrap;width:1%;padding-right:1.5rem}
@media (max-width:40rem){
  figure.wide svg{min-width:calc(var(--width)*.8)}
  thead tr>:first-child,tbody tr>th:first-child{position:sticky;left:0;background:var(--card);padding-right:.75rem}
  footer tbody tr>*{display:block;position:static!important;width:auto;padding:.15rem 0;border:0}
}
@media print{body{background:none}figure,.table{break-inside:avoid}nav{display:none}}
"""


def _colours(at: int) -> str:
    return ";".join(f"{name}:{pair[at]}" for name, pair in VARIABLES.items())


#: The whole style sheet.
CSS = (
    ":root{color-scheme:light dark;"
    '--sans:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","Helvetica Neue",Arial,sans-serif;'
    "--mono:ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;"
    f"{_colours(0)}}}\n@media (prefers-color-scheme:dark){{:root{{{_colours(1)}}}}}{_RULES}"
)
