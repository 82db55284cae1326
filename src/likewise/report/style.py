"""How the page looks and how its charts answer the pointer. System fonts, two colour schemes, nothing loaded."""

from __future__ import annotations

CSS = """
:root {
  color-scheme: light dark;
  --paper: #f8f9fb; --card: #ffffff; --ink: #14181f; --soft: #596373; --faint: #8b95a3; --rule: #e2e6ec;
  --accent: #2f54c8; --accent-2: #7d97e4; --accent-3: #b9c7f1; --rest: #d5dae2; --wash: #eef1f7;
  --good: #1c8459; --warn: #a86a08; --bad: #c2402c; --good-wash: #e2f3ea; --warn-wash: #fbf0da; --bad-wash: #fbe6e2;
  --mono: ui-monospace, "SF Mono", "Cascadia Code", Menlo, Consolas, "DejaVu Sans Mono", monospace;
}
@media (prefers-color-scheme: dark) {
  :root {
    --paper: #0f1217; --card: #161a21; --ink: #e9ecf1; --soft: #a0a9b7; --faint: #727c8b; --rule: #272d37;
    --accent: #93abff; --accent-2: #5d78d6; --accent-3: #3a4f97; --rest: #353c48; --wash: #1b2029;
    --good: #5cc894; --warn: #e0aa4e; --bad: #f08472; --good-wash: #14301f; --warn-wash: #33270f; --bad-wash: #3a1a15;
  }
}
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body {
  margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  font-variant-numeric: tabular-nums;
}
main { max-width: 1120px; margin: 0 auto; padding: 0 24px 72px; overflow-wrap: anywhere; }
p { margin: 0 0 .7em; max-width: 68ch; }
a { color: inherit; }
header { padding: 56px 0 0; }
.eyebrow { display: flex; flex-wrap: wrap; gap: 6px 14px; align-items: center; color: var(--soft); font-size: .9rem; }
.eyebrow b { color: var(--ink); font-weight: 620; }
h1 {
  font-size: clamp(1.95rem, 4.6vw, 3.1rem); line-height: 1.1; letter-spacing: -.024em; font-weight: 660;
  margin: 14px 0 18px; max-width: 24ch; text-wrap: balance;
}
.lead { font-size: clamp(1.05rem, 1.8vw, 1.22rem); line-height: 1.5; color: var(--soft); max-width: 62ch; text-wrap: pretty; }
.lead strong { color: var(--ink); font-weight: 600; }
.pill { display: inline-block; border-radius: 99px; padding: 1px 11px; font-size: .82rem; font-weight: 600; }
.pill.good { background: var(--good-wash); color: var(--good); }
.pill.warn { background: var(--warn-wash); color: var(--warn); }
.pill.bad { background: var(--bad-wash); color: var(--bad); }
.pill.plain { background: var(--wash); color: var(--soft); }

.tiles { display: grid; grid-template-columns: repeat(4, 1fr); margin: 34px 0 0; border-top: 1px solid var(--rule);
  border-bottom: 1px solid var(--rule); }
.tile { padding: 18px 22px 18px; border-left: 1px solid var(--rule); min-width: 0; }
.tile:first-child { padding-left: 0; border-left: 0; }
.tile .what { color: var(--soft); font-size: .86rem; }
.tile .value { font-size: 1.95rem; line-height: 1.25; letter-spacing: -.02em; font-weight: 620; }
.tile .value small { font-size: .95rem; font-weight: 500; letter-spacing: 0; color: var(--soft); }
.tile .value.good { color: var(--good); } .tile .value.warn { color: var(--warn); } .tile .value.bad { color: var(--bad); }
.tile .note { color: var(--soft); font-size: .86rem; line-height: 1.4; }
.dumbbell { display: block; width: 100%; height: 12px; margin: 5px 0 6px; }
.dumbbell .track { stroke: var(--rule); stroke-width: 2; }
.dumbbell .way { stroke: var(--accent-3); stroke-width: 4; }
.dumbbell .before, .dumbbell .after { stroke-width: 3.5; vector-effect: non-scaling-stroke; }
.dumbbell .before { stroke: var(--faint); } .dumbbell .after { stroke: var(--accent); }

section { margin-top: 60px; }
h2 { font-size: 1.42rem; line-height: 1.25; letter-spacing: -.015em; font-weight: 640; margin: 0 0 4px; }
h3 { font-size: 1rem; font-weight: 620; margin: 0 0 8px; }
.about { color: var(--soft); margin-bottom: 20px; text-wrap: pretty; }
.two { display: grid; grid-template-columns: 1fr 1fr; gap: 44px; }
.two > div { min-width: 0; }
section.two { margin-top: 60px; }

.alike { display: grid; gap: 12px; }
.alike .one { display: grid; grid-template-columns: 1.16fr repeat(8, 1fr); gap: 10px; align-items: end; }
figure { margin: 0; min-width: 0; }
.alike img { display: block; width: 100%; aspect-ratio: 1; border-radius: 5px; object-fit: cover; background: var(--wash); }
.alike .near img { outline: 2.5px solid transparent; outline-offset: -2.5px; }
.alike .agrees img { outline-color: var(--good); }
.alike .differs img { outline-color: var(--bad); }
.alike .query { padding-right: 12px; border-right: 1px solid var(--rule); }
figcaption { font-size: .76rem; line-height: 1.3; color: var(--soft); margin-top: 5px; white-space: nowrap; overflow: hidden;
  text-overflow: ellipsis; }
.query figcaption { color: var(--ink); font-weight: 600; font-size: .82rem; }
.differs figcaption b { color: var(--bad); font-weight: 550; }
.key { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: .86rem; margin: 0 0 16px; }
.key i { display: inline-block; width: 11px; height: 11px; border-radius: 3px; margin-right: 7px; }

.map { background: #14171c; border-radius: 10px; padding: 14px; }
.map img { display: block; width: 100%; height: auto; cursor: crosshair; }
.map .key { color: #aab2be; margin: 12px 4px 0; }

.curves { display: grid; grid-template-columns: repeat(3, 1fr); gap: 30px 34px; }
.curve .head { display: flex; justify-content: space-between; align-items: baseline; gap: 10px; }
.curve .head span { font-weight: 600; font-size: .93rem; } .curve .head b { font-weight: 550; color: var(--accent); }
.curve .says { color: var(--soft); font-size: .83rem; line-height: 1.35; margin: 0 0 4px; min-height: 2.7em; }
.chart { display: block; width: 100%; height: auto; overflow: visible; touch-action: pan-y; }
.chart text { font: 10.5px system-ui, sans-serif; fill: var(--faint); }
.chart .named { fill: var(--soft); }
.chart .grid { stroke: var(--rule); stroke-width: 1; }
.chart .line { fill: none; stroke: var(--accent); stroke-width: 2; stroke-linejoin: round; stroke-linecap: round; }
.chart .raw { fill: none; stroke: var(--accent-3); stroke-width: 1; stroke-linejoin: round; opacity: .8; }
.chart .dot, .chart .probe circle { fill: var(--accent); stroke: var(--paper); stroke-width: 1.5; }
.chart .probe line { stroke: var(--faint); stroke-width: 1; }
.chart .reference { stroke: var(--faint); stroke-width: 1.2; stroke-dasharray: 4 4; }
.stack { display: block; width: 100%; height: 26px; border-radius: 5px; overflow: hidden; }
.strip { display: block; width: 100%; height: 7px; border-radius: 4px; overflow: hidden; margin: 12px 0 6px; }
.fill-1 { fill: var(--accent); } .fill-2 { fill: var(--accent-2); } .fill-3 { fill: var(--accent-3); } .fill-4 { fill: var(--rest); }
.back-1 { background: var(--accent); } .back-2 { background: var(--accent-2); } .back-3 { background: var(--accent-3); }
.back-4 { background: var(--rest); } .back-good { background: var(--good); } .back-bad { background: var(--bad); }
.fill-good { fill: var(--good); } .fill-warn { fill: var(--warn); } .fill-bad { fill: var(--bad); }
.verdict { font-size: 1.15rem; font-weight: 600; margin-bottom: 6px; }
.verdict.good { color: var(--good); } .verdict.warn { color: var(--warn); } .verdict.bad { color: var(--bad); }

.bars { list-style: none; margin: 0; padding: 0; columns: 2; column-gap: 44px; font-size: .9rem; }
.bars li { display: grid; grid-template-columns: minmax(5em, 9em) 1fr auto; gap: 12px; align-items: center; padding: 3px 0;
  break-inside: avoid; }
.bars .bar { background: var(--wash); border-radius: 3px; height: 10px; }
.bars .bar span { display: block; height: 10px; border-radius: 3px; background: var(--accent-2); min-width: 2px; }
.bars .amount { color: var(--soft); min-width: 3.4em; text-align: right; }

.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: 9px 18px 9px 0; border-bottom: 1px solid var(--rule); }
th { font-weight: 550; color: var(--soft); font-size: .84rem; white-space: nowrap; }
td.figure, th.figure { text-align: right; white-space: nowrap; }
td:last-child, th:last-child { padding-right: 0; }
td.best { font-weight: 650; color: var(--accent); }
td.name { white-space: nowrap; font-weight: 550; }
td.dim { color: var(--soft); }
table.settings td:first-child { font-family: var(--mono); font-size: .84rem; white-space: nowrap; }
table.settings td { padding-top: 6px; padding-bottom: 6px; }

pre { margin: 0 0 10px; padding: 13px 16px; border-radius: 7px; background: var(--wash); overflow-x: auto;
  font: .87rem/1.5 var(--mono); white-space: pre-wrap; user-select: all; -webkit-user-select: all; }
.step { color: var(--soft); font-size: .88rem; margin: 16px 0 5px; }
details { border-bottom: 1px solid var(--rule); }
details > summary { cursor: pointer; padding: 11px 0; font-weight: 560; }
details > summary:hover { color: var(--accent); }
summary:focus-visible { outline: 2px solid var(--accent); outline-offset: 3px; border-radius: 3px; }
details[open] { padding-bottom: 18px; }
details td { font-size: .88rem; }
.columns { columns: 2; column-gap: 44px; }
footer { margin-top: 68px; padding-top: 16px; border-top: 1px solid var(--rule); color: var(--faint); font-size: .84rem; }
#tip { position: fixed; z-index: 9; pointer-events: none; max-width: 320px; padding: 4px 9px; border-radius: 6px;
  background: var(--ink); color: var(--paper); font-size: .8rem; line-height: 1.35; opacity: 0; overflow-wrap: anywhere; }
#tip.on { opacity: 1; }

@media (max-width: 820px) {
  main { padding: 0 18px 48px; }
  header { padding-top: 34px; }
  .tiles { grid-template-columns: 1fr 1fr; }
  .tile { padding: 15px 14px 15px 16px; }
  .tile:nth-child(odd) { padding-left: 0; border-left: 0; }
  .tile:nth-child(n + 3) { border-top: 1px solid var(--rule); }
  section, section.two { margin-top: 46px; }
  .two { grid-template-columns: 1fr; gap: 46px; }
  .curves { grid-template-columns: 1fr; gap: 26px; }
  .curve .says { min-height: 0; }
  .bars, .columns { columns: 1; }
  .alike { gap: 22px; }
  .alike .one { grid-template-columns: 1.75fr repeat(4, 1fr); gap: 7px; align-items: start; }
  .alike .query { grid-row: span 2; padding-right: 8px; border-right: 0; }
  figcaption { font-size: .69rem; }
  .map { padding: 7px; margin: 0 -10px; }
}
@media (prefers-reduced-motion: reduce) { html { scroll-behavior: auto; } }
@media print { section { break-inside: avoid; } pre { white-space: pre-wrap; } }
"""

SCRIPT = """
(() => {
  const tip = document.getElementById("tip");
  const say = (event, text) => {
    tip.textContent = text;
    tip.className = "on";
    const x = Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8);
    const above = event.clientY - tip.offsetHeight - 12;
    tip.style.left = Math.max(8, x) + "px";
    tip.style.top = (above > 4 ? above : event.clientY + 18) + "px";
  };
  const hush = () => { tip.className = ""; };
  addEventListener("scroll", hush, { passive: true });
  for (const chart of document.querySelectorAll("svg.chart")) {
    const points = JSON.parse(chart.dataset.points), said = JSON.parse(chart.dataset.said);
    const probe = chart.querySelector(".probe"), line = probe.querySelector("line"), dot = probe.querySelector("circle");
    chart.addEventListener("pointermove", (event) => {
      const box = chart.getBoundingClientRect();
      const x = (event.clientX - box.left) / box.width * chart.viewBox.baseVal.width;
      let best = 0;
      points.forEach((point, i) => { if (Math.abs(point[0] - x) < Math.abs(points[best][0] - x)) best = i; });
      const [px, py] = points[best];
      line.setAttribute("x1", px); line.setAttribute("x2", px);
      dot.setAttribute("cx", px); dot.setAttribute("cy", py);
      probe.setAttribute("visibility", "visible");
      say(event, said[best]);
    });
    chart.addEventListener("pointerleave", () => { probe.setAttribute("visibility", "hidden"); hush(); });
  }
  for (const map of document.querySelectorAll("img[data-cells]")) {
    const columns = +map.dataset.columns, rows = +map.dataset.rows, names = new Map();
    for (const [column, row, name] of JSON.parse(map.dataset.cells)) names.set(row * columns + column, name);
    map.addEventListener("pointermove", (event) => {
      const box = map.getBoundingClientRect();
      const column = Math.floor((event.clientX - box.left) / box.width * columns);
      const row = Math.floor((event.clientY - box.top) / box.height * rows);
      const name = names.get(row * columns + column);
      if (name === undefined) hush(); else say(event, name);
    });
    map.addEventListener("pointerleave", hush);
  }
})();
"""
