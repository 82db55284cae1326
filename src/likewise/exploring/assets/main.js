// Puts the parts together and listens to pointer and keys.

const start = async () => {
  const store = await openStore(), view = new View(store);
  const state = {lit: new Uint8Array(store.count).fill(1), picked: new Uint8Array(store.count), pickedCount: 0,
    dimmed: false, litCount: store.count,
    thumbnails: true, current: -1, line: [], lasso: false, dark: matchMedia("(prefers-color-scheme:dark)").matches};
  const canvas = byId("map");
  const sheets = new Sheets(store.facts, () => drawing.ask());
  const drawing = new Drawing(canvas, store, view, sheets, state);
  const themed = () => {
    document.documentElement.dataset.theme = state.dark ? "dark" : "light";
    byId("theme").textContent = state.dark ? "light" : "dark";
    byId("theme").setAttribute("aria-label", `switch to ${state.dark ? "light" : "dark"}`);
    drawing.theme();
  };
  themed();
  drawing.resize();
  view.fit();
  const panel = new Panel(store, sheets, drawing, state);
  byId("about").textContent = store.facts.about;
  byId("theme").onclick = () => { state.dark = !state.dark; themed(); panel.recolour(); };
  new ResizeObserver(() => drawing.resize()).observe(canvas);
  tools(drawing, panel, state);
  pointer(drawing, panel, state);
  keys(drawing, panel, state);
  drawing.ask();
  window.likewise = {store, view, drawing, panel, state, sheets};
  document.documentElement.dataset.ready = "yes";
};

const tools = (drawing, panel, state) => {
  const {view} = drawing, does = (id, what) => { byId(id).onclick = () => { what(); drawing.ask(); }; };
  const pressed = (id, value) => byId(id).setAttribute("aria-pressed", String(value));
  does("in", () => view.zoom(1.6));
  does("out", () => view.zoom(1 / 1.6));
  does("fit", () => view.fit());
  does("shown", () => { state.thumbnails = !state.thumbnails; pressed("shown", state.thumbnails); });
  panel.lasso = value => {
    state.lasso = value;
    pressed("lasso", value);
    drawing.canvas.classList.toggle("draw", value);
  };
  does("lasso", () => panel.lasso(!state.lasso));
  byId("help").onclick = () => {
    byId("keys").hidden = !byId("keys").hidden;
    byId("help").setAttribute("aria-expanded", String(!byId("keys").hidden));
  };
};

const pointer = (drawing, panel, state) => {
  const {canvas, view} = drawing, tip = byId("tip"), down = new Map();
  const at = event => {
    const box = canvas.getBoundingClientRect();
    return [(event.clientX - box.left) * view.ratio, (event.clientY - box.top) * view.ratio];
  };
  let moved = 0, hovered = -1;
  const hover = event => {
    const [sx, sy] = at(event), i = drawing.at(sx, sy);
    canvas.classList.toggle("over", i >= 0);
    tip.hidden = i < 0;
    if (i < 0) { hovered = -1; return; }
    if (i !== hovered) {
      const name = panel.parts.words(i).split(", ");
      tip.replaceChildren(panel.parts.canvas(i, 112), name[0], element("span", {}, name.slice(1).join(", ")));
      hovered = i;
    }
    const box = tip.getBoundingClientRect(), x = sx / view.ratio, y = sy / view.ratio;
    const left = x + 16 + box.width > view.width / view.ratio ? x - 16 - box.width : x + 16;
    const top = Math.min(y + 12, view.height / view.ratio - box.height - 8);
    tip.style.transform = `translate(${Math.max(4, left)}px,${Math.max(4, top)}px)`;
  };
  canvas.addEventListener("pointerdown", event => {
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    moved = 0;
    tip.hidden = true;
    if (down.size === 1 && (state.lasso || event.shiftKey)) state.line = at(event);
  });
  canvas.addEventListener("pointermove", event => {
    if (!down.has(event.pointerId)) { if (event.pointerType !== "touch") hover(event); return; }
    const [sx, sy] = at(event), [px, py] = down.get(event.pointerId);
    moved += Math.hypot(sx - px, sy - py);
    if (state.line.length) state.line.push(sx, sy);
    else if (down.size === 2) {
      const [ox, oy] = [...down].find(([id]) => id !== event.pointerId)[1];
      view.zoom(Math.hypot(sx - ox, sy - oy) / Math.max(1, Math.hypot(px - ox, py - oy)), (sx + ox) / 2, (sy + oy) / 2);
    } else { view.move(sx - px, sy - py); canvas.classList.add("drag"); }
    down.set(event.pointerId, [sx, sy]);
    drawing.ask();
  });
  const up = event => {
    if (!down.delete(event.pointerId)) return;
    canvas.classList.remove("drag");
    if (state.line.length) {
      const found = state.line.length > 6 ? inside(view, state.line, state.lit) : [];
      state.line = [];
      if (found.length) {
        panel.pick(found, !event.shiftKey || !state.lasso);
        byId("status").textContent = `${grouped(state.pickedCount)} images selected`;
      }
      panel.lasso(false);
      drawing.ask();
    } else if (moved < 5 * view.ratio && event.type === "pointerup") {
      const i = drawing.at(...at(event));
      if (i >= 0) panel.choose(i, {move: false});
    }
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => { tip.hidden = true; });
  canvas.addEventListener("wheel", event => {
    event.preventDefault();
    tip.hidden = true;
    view.zoom(Math.exp(-event.deltaY * (event.ctrlKey ? 0.01 : 0.0016)), ...at(event));
    drawing.ask();
  }, {passive: false});
};

const ARROWS = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]};

const keys = (drawing, panel, state) => {
  const {view, store} = drawing;
  let home = -1, turn = -1; // the image whose neighbours n and p go through, and which of them is shown
  const neighbour = step => {
    if (state.current < 0) return;
    const width = store.facts.neighbours;
    if (turn < 0 || store.nearest[home * width + turn] !== state.current) { home = state.current; turn = step > 0 ? -1 : width; }
    turn = (turn + step + width) % width;
    panel.choose(store.nearest[home * width + turn]);
  };
  const arrow = ([dx, dy], pan) => {
    if (pan) { view.move(-dx * 90 * view.ratio, -dy * 90 * view.ratio); return; }
    const from = state.current >= 0 ? state.current : view.nearestTo(view.width / 2, view.height / 2, Infinity, state.lit);
    const next = state.current < 0 ? from : view.towards(from, dx, dy, state.lit);
    if (next >= 0) panel.choose(next);
  };
  const does = {
    "+": () => view.zoom(1.6), "=": () => view.zoom(1.6), "-": () => view.zoom(1 / 1.6), "0": () => view.fit(),
    n: () => neighbour(1), p: () => neighbour(-1), l: () => panel.lasso(!state.lasso), t: () => byId("shown").click(),
    "?": () => byId("help").click(), " ": () => { if (state.current >= 0) panel.toggle(state.current); },
  };
  addEventListener("keydown", event => {
    const typing = event.target.matches("input,select,textarea"), onMap = event.target === drawing.canvas;
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") {
      if (state.lasso) panel.lasso(false);
      else panel.everything();
      if (typing) drawing.canvas.focus();
    } else if (typing) return;
    else if (event.key === "/") byId("search").focus();
    else if (onMap && ARROWS[event.key]) arrow(ARROWS[event.key], event.shiftKey);
    else if (does[event.key] && (event.key !== " " || onMap)) does[event.key]();
    else return;
    event.preventDefault();
    drawing.ask();
  });
};

start();
