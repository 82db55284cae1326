"""The labelling page: markup, style and script. Content from the server is shown as text, never as markup."""

from __future__ import annotations

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>label, likewise</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="stylesheet" href="/page.css"></head><body>
<header><h1 id="name"></h1><p id="progress" role="status"></p><p id="saved" role="status"></p></header>
<main><ol id="classes" aria-label="classes and their keys"></ol>
<form id="new" hidden><label>class <input id="typed" list="known" autocomplete="off" spellcheck="false"></label>
<datalist id="known"></datalist><span>Enter gives it to the chosen images, Esc goes back</span></form>
<p id="error" role="alert" hidden></p>
<div id="grid" role="listbox" aria-multiselectable="true" aria-label="images that look alike"></div>
<p id="done" hidden></p></main>
<footer><kbd>1</kbd>-<kbd>9</kbd> <kbd>0</kbd> class <kbd>n</kbd> new or by name <kbd>s</kbd> skip <kbd>u</kbd> undo
<kbd>z</kbd> zoom <kbd>space</kbd> choose or leave <kbd>a</kbd> all / one by one <kbd>arrows</kbd> move
<kbd>Enter</kbd> <kbd>Backspace</kbd> next, previous nine</footer>
<div id="zoom" hidden><img id="large" alt=""><p id="caption"></p></div>
<script src="/page.js"></script></body></html>
"""

STYLE = """
:root{color-scheme:light dark;--paper:#faf8f4;--surface:#fff;--ink:#1f1d1a;--soft:#6a655c;--line:#e0dacd;
--accent:#0d6b62;--bad:#b3362c;--good:#2c7a50}
@media(prefers-color-scheme:dark){:root{--paper:#151412;--surface:#1d1c19;--ink:#ece8df;--soft:#a39d91;--line:#302e29;
--accent:#6ccabb;--bad:#ea7568;--good:#55b985}}
*{box-sizing:border-box}[hidden]{display:none!important}
body{margin:0;height:100vh;display:grid;grid-template-rows:auto 1fr auto;background:var(--paper);color:var(--ink);
font:15px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,Arial,sans-serif;font-variant-numeric:tabular-nums}
header{display:flex;gap:24px;align-items:baseline;padding:10px 20px;border-bottom:1px solid var(--line)}
h1{font:600 15px/1.4 ui-monospace,Menlo,Consolas,monospace;margin:0}p{margin:0}
#progress{color:var(--soft)}#saved{margin-left:auto;color:var(--good)}#saved.waiting{color:var(--soft)}
#saved.failed{color:var(--bad);font-weight:600}
main{display:grid;grid-template-rows:auto auto auto 1fr;gap:10px;padding:12px 20px;min-height:0}
#classes{display:flex;flex-wrap:wrap;gap:6px;margin:0;padding:0;list-style:none;min-height:30px;
max-height:20vh;overflow:auto}
#classes li{display:flex;gap:7px;align-items:center;border:1px solid var(--line);border-radius:6px;
background:var(--surface);padding:2px 9px 2px 5px;cursor:pointer;max-width:260px}
#classes b{font-weight:500;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
#classes i{color:var(--soft);font-style:normal}
kbd{font:600 12px/1.5 ui-monospace,Menlo,Consolas,monospace;border:1px solid var(--line);border-radius:4px;
padding:0 5px;background:var(--surface)}
form{display:flex;gap:14px;align-items:center}form span{color:var(--soft);font-size:13px}
input{font:inherit;color:inherit;background:var(--surface);border:1px solid var(--accent);border-radius:5px;
padding:4px 8px;width:260px}
#error{color:var(--bad)}
#grid{display:grid;grid-template-columns:repeat(3,minmax(0,1fr));grid-template-rows:repeat(3,minmax(0,1fr));gap:10px;min-height:0;
width:min(100%,calc(100vh - 150px));margin:0 auto}
figure{margin:0;position:relative;min-height:0;border-radius:8px;overflow:hidden;background:var(--surface);
border:3px solid var(--line);cursor:pointer;display:flex}
figure img{width:100%;height:100%;object-fit:contain;image-rendering:auto}figure img.tiny{image-rendering:pixelated}
figure.chosen{border-color:var(--accent)}figure:not(.chosen) img{opacity:.55}figure.decided img{opacity:.8}
figure.focus{outline:3px solid var(--ink);outline-offset:1px}
figcaption{position:absolute;left:0;bottom:0;max-width:100%;padding:1px 8px;background:#1f1d1ae0;color:#fff;
font-size:13px;border-radius:0 6px 0 0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
figcaption:empty{display:none}
#done{font-size:18px;text-align:center;padding:20px}
footer{padding:9px 20px;border-top:1px solid var(--line);color:var(--soft);font-size:13px}footer kbd{margin-left:10px}
footer kbd+kbd{margin-left:2px}
#zoom{position:fixed;inset:0;background:#000d;display:grid;grid-template-rows:1fr auto;place-items:center;padding:18px}
#zoom img{max-width:100%;max-height:calc(100vh - 80px);min-width:min(60vw,60vh);object-fit:contain}
#zoom p{color:#eee;padding-top:8px;overflow-wrap:anywhere}
"""

SCRIPT = r"""
"use strict";
const $ = (id) => document.getElementById(id);
const TAB = sessionStorage.tab || (sessionStorage.tab = crypto.randomUUID());
let list = null, state = null, group = 0, focus = 0, chosen = new Set(), single = sessionStorage.single === "1";
let chain = Promise.resolve();

const decided = (row) => String(row) in state.labels || state.skipped.includes(row);
const rows = () => list.groups[group];
const open = (one) => list.groups[one].some((row) => !decided(row));

function choose() {
  const left = rows().filter((row) => !decided(row));
  if (left.length && decided(rows()[focus])) focus = rows().indexOf(left[0]);
  chosen = new Set(single ? [] : left);
}
function go(to) {
  group = Math.min(Math.max(to, 0), list.groups.length - 1);
  focus = 0;
  sessionStorage.group = group;
  choose();
  draw();
}
function onward() {
  if (open(group)) { choose(); draw(); return; }
  const order = list.groups.map((_, step) => (group + 1 + step) % list.groups.length);
  const next = order.find(open);
  if (next === undefined) { choose(); draw(); } else go(next);
}

function draw() {
  const all = list.names.length, done = Object.keys(state.labels).length, passed = state.skipped.length;
  $("name").textContent = list.name;
  $("progress").textContent = `${done} of ${all} labelled` + (passed ? `, ${passed} skipped` : "")
    + ` · group ${group + 1} of ${list.groups.length}`;
  const counts = {};
  for (const label of Object.values(state.labels)) counts[label] = (counts[label] || 0) + 1;
  $("classes").replaceChildren(...state.classes.map((name, place) => {
    const item = document.createElement("li");
    const key = document.createElement("kbd"), word = document.createElement("b"), number = document.createElement("i");
    key.textContent = place < 10 ? (place + 1) % 10 : "n";
    word.textContent = name; number.textContent = counts[name] || 0; item.title = name;
    item.append(key, word, number);
    item.onclick = () => later(() => give(name));
    return item;
  }));
  const option = (value) => Object.assign(document.createElement("option"), {value});
  $("known").replaceChildren(...state.classes.map(option));
  const grid = $("grid"), wanted = rows().join(",");
  if (grid.dataset.rows !== wanted) {
    grid.dataset.rows = wanted;
    grid.replaceChildren(...rows().map((row, place) => {
      const figure = document.createElement("figure"), image = document.createElement("img");
      image.src = `/image/small/${row}`; image.alt = list.names[row];
      image.onload = () => image.classList.toggle("tiny", image.naturalWidth < 100);
      image.onerror = () => { figure.lastChild.textContent = "cannot be read"; };
      figure.title = list.names[row]; figure.setAttribute("role", "option");
      figure.onclick = () => later(() => { focus = place; toggle(); });
      figure.append(image, document.createElement("figcaption"));
      return figure;
    }));
  }
  rows().forEach((row, place) => {
    const figure = grid.children[place];
    const on = chosen.has(row) || (!chosen.size && place === focus);
    figure.classList.toggle("chosen", on);
    figure.setAttribute("aria-selected", on);
    figure.classList.toggle("focus", place === focus);
    figure.classList.toggle("decided", decided(row));
    figure.lastChild.textContent = state.labels[row] ?? (state.skipped.includes(row) ? "skipped" : "");
  });
  const finished = !list.groups.some((_, one) => open(one));
  $("done").hidden = !finished;
  $("done").textContent = finished ? "All images are done. The list is written; this page can be closed." : "";
  if (!$("zoom").hidden) show();
}
function show() {
  const row = rows()[focus];
  $("large").src = `/image/large/${row}`;
  $("caption").textContent = list.names[row] + (state.labels[row] ? ` · ${state.labels[row]}` : "");
  $("zoom").hidden = false;
}
function toggle() {
  const row = rows()[focus];
  if (!chosen.delete(row)) chosen.add(row);
  draw();
}
function fail(words) { $("error").textContent = words; $("error").hidden = !words; }
function saved(words, kind) { $("saved").textContent = words; $("saved").className = kind || ""; }

async function act(what) {
  const body = JSON.stringify({id: crypto.randomUUID(), tab: TAB, ...what});
  saved("saving", "waiting");
  for (;;) {
    try {
      const answer = await fetch("/act", {method: "POST", headers: {"Content-Type": "application/json"}, body});
      const found = await answer.json();
      if (answer.status === 507) throw new Error(found.error);
      if (!answer.ok) { saved(""); fail(found.error); return null; }
      state = found; saved("saved"); fail("");
      return found.touched;
    } catch (error) {
      const why = error instanceof TypeError ? "likewise label does not answer; start it again" : error.message;
      saved(`NOT saved: ${why}`, "failed");
      await new Promise((then) => setTimeout(then, 700));
    }
  }
}
const target = () => chosen.size ? [...chosen] : [rows()[focus]];
async function give(label) { if (await act({kind: "label", rows: target(), label})) onward(); else draw(); }
async function skip() { if (await act({kind: "skip", rows: target()})) onward(); else draw(); }
async function undo() {
  const touched = await act({kind: "undo"});
  if (touched && touched.length) go(list.groups.findIndex((one) => one.includes(touched[0])));
  else draw();
}
function ask() { $("new").hidden = false; $("typed").value = ""; $("typed").focus(); }
function back() { $("new").hidden = true; $("typed").blur(); }
function move(step) { focus = Math.min(Math.max(focus + step, 0), rows().length - 1); draw(); }

const KEYS = {
  n: ask, s: skip, u: undo, " ": toggle, z: () => { if ($("zoom").hidden) show(); else $("zoom").hidden = true; },
  a: () => { single = !single; sessionStorage.single = single ? "1" : "0"; choose(); draw(); },
  Escape: () => { $("zoom").hidden = true; fail(""); },
  Enter: () => go(group + 1), PageDown: () => go(group + 1),
  Backspace: () => go(group - 1), PageUp: () => go(group - 1),
  ArrowLeft: () => move(-1), ArrowRight: () => move(1), ArrowUp: () => move(-3), ArrowDown: () => move(3),
};
// Keys are handled one after the other: what is pressed while one is being saved waits for it.
const later = (work) => { chain = chain.then(work); };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !list || event.target === $("typed")) return;
  if (/^[0-9]$/.test(event.key)) {
    event.preventDefault();
    if (event.repeat) return;
    later(() => {
      const name = state.classes[(Number(event.key) + 9) % 10];
      if (name === undefined) { fail(`no class has the key ${event.key}: n makes one`); return null; }
      return give(name);
    });
  } else if (event.key in KEYS) {
    event.preventDefault();
    if (event.repeat && !event.key.startsWith("Arrow")) return;
    if (event.key === "n") ask(); else later(KEYS[event.key]);  // at once, so that the name is typed into the field
  }
});
$("typed").addEventListener("keydown", (event) => { if (event.key === "Escape") back(); });
$("new").addEventListener("submit", (event) => {
  event.preventDefault();
  const name = $("typed").value;
  back();
  later(() => give(name));
});
$("zoom").onclick = () => { $("zoom").hidden = true; };

async function look() {
  if (!list) return;
  try {
    const found = await (await fetch(`/state?revision=${state.revision}`)).json();
    if ($("saved").className === "failed") saved("");
    if (!found) return;
    state = found;
    chosen = new Set([...chosen].filter((row) => !decided(row)));
    draw();
  } catch { saved("likewise label does not answer; start it again", "failed"); }
}
(async () => {
  list = await (await fetch("/list")).json();
  state = await (await fetch("/state")).json();
  const before = Number(sessionStorage.group || 0);
  group = Math.min(before, list.groups.length - 1);
  onward();
  setInterval(() => later(look), 1500);
  window.addEventListener("focus", () => later(look));
})();
"""
