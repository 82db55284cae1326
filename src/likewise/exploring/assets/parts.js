// Parts of the panel: elements, thumbnails as buttons, lists, and the CSV file.

const byId = id => document.getElementById(id);
const element = (name, attributes = {}, ...content) => {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (value !== false && value !== null) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...content);
  return made;
};
const grouped = value => value.toLocaleString("en");

class Parts {
  constructor(store, sheets, choose) {
    Object.assign(this, {store, sheets, choose});
    this.label = store.columns.find(column => column.name === "label");
  }

  // A canvas with the thumbnail of an image, drawn when its sheet is there.
  canvas(i, shown) {
    const ratio = Math.min(2, devicePixelRatio || 1), side = Math.max(this.store.facts.tile, Math.round(shown * ratio));
    const made = element("canvas", {width: side, height: side, "aria-hidden": "true"});
    const slot = this.store.slot[i];
    this.sheets.wait(Math.floor(slot / this.sheets.each)).then(bitmap => {
      this.sheets.paint(made.getContext("2d"), bitmap, slot, 0, 0, side);
    });
    return made;
  }

  words(i) {
    const label = this.label && this.store.said(this.label, i);
    return (label ? label + ", " : "") + this.store.names[i];
  }

  // A thumbnail that can be chosen, with a line under it.
  button(i, shown, line = null, differs = false) {
    const made = element("button", {type: "button", class: "thumb", title: this.words(i),
      "aria-label": this.words(i) + (line ? ", " + line : ""), onclick: () => this.choose(i)}, this.canvas(i, shown));
    if (line) made.append(element("span", {class: differs ? "differs" : null}, line));
    return made;
  }

  // Fill `holder` from `make(position)` and let its `more` button go on.
  list(holder, more, total, step, make) {
    let shown = 0;
    const go = () => {
      for (const end = Math.min(total, shown + step); shown < end; shown++) holder.append(make(shown));
      more.hidden = shown >= total;
    };
    more.onclick = go;
    go();
  }

  neighbours(i) {
    const {store, label} = this, width = store.facts.neighbours;
    return Array.from({length: width}, (_, k) => {
      const other = store.nearest[i * width + k], own = label && store.said(label, i), its = label && store.said(label, other);
      const said = store.similarity(i, k).toFixed(2) + (its ? " " + its : "");
      return this.button(other, 76, said, Boolean(own && its && own !== its));
    });
  }

  pair(number) {
    const {store} = this, [a, b] = [store.pairs[2 * number], store.pairs[2 * number + 1]];
    const words = store.copies.has(number) ? "copies" : store.pairSimilarity(number).toFixed(3);
    return element("li", {}, this.button(a, 62), this.button(b, 62),
      element("p", {}, element("b", {}, words), element("br"), store.names[a], element("br"), store.names[b]));
  }

  outlier(number) {
    const {store} = this, i = store.outliers[number], column = store.columns.find(one => one.name === "distance");
    return this.button(i, 76, column.values[i].toFixed(2));
  }
}

const quoted = name => /[",\n]/.test(name) ? '"' + name.replaceAll('"', '""') + '"' : name;
const csv = names => "name\n" + names.map(name => quoted(name) + "\n").join("");

const download = (content, file) => {
  const address = URL.createObjectURL(new Blob([content], {type: "text/csv"}));
  const link = element("a", {href: address, download: file});
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
};

// Which images hold every word of a search, in their name or in any of their facts.
const searched = (store, text, lower) => {
  const lit = new Uint8Array(store.count).fill(1);
  for (const word of text.toLowerCase().split(/\s+/).filter(Boolean)) {
    const columns = store.columns.filter(column => column.kind === "category").map(column => [column.values,
      new Set(column.categories.flatMap((name, code) => name.toLowerCase().includes(word) ? [code] : []))])
      .filter(([, codes]) => codes.size);
    for (let i = 0; i < store.count; i++) {
      if (lit[i] && !lower[i].includes(word) && !columns.some(([values, codes]) => codes.has(values[i]))) lit[i] = 0;
    }
  }
  return lit;
};
