// The panel: search, colours with their legend, the current image, the selection, and the lists.

class Panel {
  constructor(store, sheets, drawing, state) {
    Object.assign(this, {store, sheets, drawing, state});
    this.parts = new Parts(store, sheets, i => this.choose(i));
    this.only = new Set(); // codes of the legend that are shown alone
    this.lower = store.names.map(name => name.toLowerCase());
    this.matching = new Uint8Array(store.count).fill(1);
    this.colours();
    this.lists();
    let wait = 0;
    byId("search").addEventListener("input", () => { clearTimeout(wait); wait = setTimeout(() => this.search(), 90); });
    byId("take").onclick = () => this.take();
    byId("save").onclick = () => this.save();
    byId("clear").onclick = () => this.pick([], true);
  }

  colours() {
    const select = byId("colour");
    for (const [number, column] of this.store.columns.entries()) {
      select.append(element("option", {value: number}, column.title));
    }
    select.onchange = () => { this.only.clear(); this.recolour(); this.light(); };
    this.recolour();
  }

  get column() { return this.store.columns[Number(byId("colour").value)]; }

  // Colours and legend again, as after another theme.
  recolour() {
    const found = this.drawing.colourBy(this.column, this.state.dark), legend = byId("legend");
    legend.hidden = !found.entries;
    byId("ramp").hidden = Boolean(found.entries);
    if (!found.entries) {
      byId("ramp").firstElementChild.style.background = `linear-gradient(90deg,${found.stops.join()})`;
      byId("low").textContent = String(+found.low.toPrecision(3));
      byId("high").textContent = String(+found.high.toPrecision(3));
      return;
    }
    legend.replaceChildren(...found.entries.slice(0, 300).map(([code, words, colour, count]) => {
      const swatch = element("i");
      swatch.style.background = colour;
      const button = element("button", {type: "button", "aria-pressed": String(this.only.has(code))}, swatch, words,
        element("span", {}, grouped(count)));
      button.onclick = () => {
        if (!this.only.delete(code)) this.only.add(code);
        button.setAttribute("aria-pressed", String(this.only.has(code)));
        this.light();
      };
      return element("li", {}, button);
    }));
  }

  search() {
    this.matching = searched(this.store, byId("search").value, this.lower);
    this.light();
  }

  // Which images are lit: those that match the search and the legend.
  light() {
    const {state, store, only, matching} = this, values = this.column.values, asked = byId("search").value.trim();
    let count = 0;
    for (let i = 0; i < store.count; i++) {
      state.lit[i] = matching[i] && (!only.size || only.has(values[i])) ? 1 : 0;
      count += state.lit[i];
    }
    state.dimmed = count < store.count;
    state.litCount = count;
    byId("matches").textContent = asked || only.size ? `${grouped(count)} of ${grouped(store.count)} images` : "";
    const some = [];
    for (let i = 0; asked && i < store.count && some.length < 12; i++) if (state.lit[i]) some.push(this.parts.button(i, 50));
    byId("found").replaceChildren(...some);
    byId("take").disabled = !state.dimmed || !count;
    this.drawing.ask();
  }

  everything() {
    byId("search").value = "";
    this.only.clear();
    this.search();
    this.recolour();
  }

  // Make an image the current one.
  choose(i, {move = true} = {}) {
    const {store, state, drawing, parts} = this;
    state.current = i;
    if (move) drawing.view.show(i);
    byId("image").hidden = false;
    byId("large").replaceChildren(parts.canvas(i, 132));
    byId("name").textContent = store.names[i];
    byId("known").replaceChildren(...store.columns.flatMap(column => {
      const said = store.said(column, i);
      return said === null ? [] : [element("div", {}, element("dt", {}, column.title), element("dd", {}, said))];
    }));
    byId("near").replaceChildren(...parts.neighbours(i));
    byId("status").textContent = parts.words(i);
    drawing.ask();
  }

  // Change the selection: add images, or have only these.
  pick(images, alone = false) {
    const {state, store} = this;
    if (alone) state.picked.fill(0);
    for (const i of images) state.picked[i] = 1;
    const chosen = [];
    for (let i = 0; i < store.count; i++) if (state.picked[i]) chosen.push(i);
    state.pickedCount = chosen.length;
    byId("picked").textContent = chosen.length ? `${grouped(chosen.length)} images` : "None yet.";
    byId("save").disabled = byId("clear").disabled = !chosen.length;
    byId("use").hidden = !chosen.length;
    byId("command").textContent = store.facts.command;
    byId("some").replaceChildren(...chosen.slice(0, 18).map(i => this.parts.button(i, 50)));
    this.drawing.ask();
  }

  toggle(i) {
    if (this.state.picked[i]) { this.state.picked[i] = 0; this.pick([]); } else this.pick([i]);
  }

  take() {
    const lit = [];
    for (let i = 0; i < this.store.count; i++) if (this.state.lit[i]) lit.push(i);
    this.pick(lit, true);
  }

  save() {
    const {state, store} = this;
    download(csv(store.names.filter((_, i) => state.picked[i])), "selection.csv");
  }

  // Lists are made when they are opened.
  lists() {
    const {store, parts} = this;
    const opened = (id, holder, total, step, make) => {
      const details = byId(id);
      details.addEventListener("toggle", () => {
        if (details.open && !details.dataset.made) {
          details.dataset.made = "yes";
          parts.list(details.querySelector(holder), details.querySelector(".more"), total, step, make);
        }
      });
    };
    opened("pairs", ".pairs", store.pairs.length / 2, 12, number => parts.pair(number));
    opened("outliers", ".thumbs", store.outliers.length, 24, number => parts.outlier(number));
  }
}
