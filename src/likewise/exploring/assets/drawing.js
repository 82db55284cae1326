// Draws the map: points straight into pixels, thumbnails over them where there is room.

const CLASS_COLOURS = ["#4c78a8", "#e07b39", "#3f9a76", "#c4504f", "#8a6bb1", "#97694f", "#d678a6", "#b9a13a", "#2f9bb3",
  "#7c8c2d", "#5b63b7", "#b05fa0"];
const OTHER_COLOUR = "#8b8b86";
const RAMP = {light: ["#cfd8c4", "#7fbfa4", "#2f8f8d", "#2a5c85", "#3a2a66"],
  dark: ["#3a3f6b", "#2f6f8f", "#3fa58d", "#a9cc6b", "#f6e27a"]};
const CELL = 30; // least pixels of a page for a thumbnail
const LARGEST = 120; // most pixels of a page for a thumbnail among others
const CROWD = 12; // images to a cell above which points are shown, and thumbnails only here and there
const ALONE = 0.3; // images to a cell below which cells become larger
const APART = 3; // cells between these thumbnails

const rgb = hex => [1, 3, 5].map(at => parseInt(hex.slice(at, at + 2), 16));
const packed = ([r, g, b], alpha = 255) => (alpha << 24 | b << 16 | g << 8 | r) >>> 0;
const mixed = (a, b, share) => a.map((value, at) => Math.round(value + (b[at] - value) * share));
const rampAt = (stops, share) => {
  const at = Math.min(stops.length - 1.000001, Math.max(0, share * (stops.length - 1))), low = Math.floor(at);
  return mixed(rgb(stops[low]), rgb(stops[low + 1]), at - low);
};

class Drawing {
  constructor(canvas, store, view, sheets, state) {
    Object.assign(this, {canvas, store, view, sheets, state});
    this.context = canvas.getContext("2d", {alpha: false});
    this.colour = new Uint32Array(store.count);
    this.wanted = false;
    this.times = []; // milliseconds of the latest frames
  }

  // Draw at the next frame; many calls draw once.
  ask() {
    if (this.wanted) return;
    this.wanted = true;
    requestAnimationFrame(() => { this.wanted = false; this.draw(); });
  }

  resize() {
    const box = this.canvas.getBoundingClientRect(), ratio = Math.min(2, devicePixelRatio || 1);
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    [this.canvas.width, this.canvas.height] = [width, height];
    this.view.resize(width, height, ratio);
    this.image = new ImageData(width, height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.ask();
  }

  theme() {
    const style = getComputedStyle(document.documentElement), read = name => style.getPropertyValue(name).trim();
    this.back = read("--paper");
    this.paper = packed(rgb(this.full(read("--paper"))));
    this.faint = packed(rgb(this.full(read("--faint"))));
    [this.accent, this.surface, this.mark] = [read("--accent"), read("--surface"), read("--mark")];
    this.ask();
  }

  full(hex) { return hex.length === 4 ? "#" + [...hex.slice(1)].map(one => one + one).join("") : hex; }

  draw() {
    const began = performance.now();
    this.pixels.fill(this.paper);
    this.points();
    this.context.putImageData(this.image, 0, 0);
    if (this.state.thumbnails) this.thumbnails();
    this.marks();
    this.times.push(performance.now() - began);
    if (this.times.length > 240) this.times.shift();
  }

  // Every image as a few pixels: first those that are not lit.
  points() {
    const {store: {x, y, count}, view, state: {lit, dimmed}, colour, pixels} = this;
    const {width, height, scale} = view, left = width / 2 - view.x * scale, top = height / 2 - view.y * scale;
    const room = Math.sqrt(width * height / Math.max(1, this.before || count));
    const radius = Math.max(1, Math.min(4 * view.ratio, Math.round(room * 0.16 * Math.max(1, Math.log2(scale / view.whole)))));
    let seen = 0;
    for (const pass of dimmed ? [0, 1] : [1]) {
      const size = pass ? radius : 1;
      for (let i = 0; i < count; i++) {
        if (lit[i] !== pass) continue;
        const sx = Math.round(x[i] * scale + left), sy = Math.round(y[i] * scale + top);
        if (sx < size || sy < size || sx >= width - size || sy >= height - size) continue;
        seen += pass;
        const value = pass ? colour[i] : this.faint;
        for (let dy = -size; dy < size; dy++) {
          const corner = size > 1 && (dy === -size || dy === size - 1) ? (size > 2 ? 2 : 1) : 0;
          const from = (sy + dy) * width + sx, end = from + size - corner;
          for (let at = from - size + corner; at < end; at++) pixels[at] = value;
        }
      }
    }
    this.before = seen;
    this.radius = radius;
  }

  // How thumbnails lie at this scale: the side of a cell, and whether there are too many images for one in each.
  // It follows from the scale and not from what is in view, so that nothing jumps while the map is moved.
  cells() {
    const {view, state, sheets, store} = this, {left, right, low, high} = view.bounds, {scale, ratio} = view;
    const area = Math.max((right - left) * (high - low) * scale * scale, 1);
    const level = Math.floor(Math.log2(scale / view.whole) + 1e-9);
    let side = CELL * ratio * scale / (view.whole * 2 ** level);
    const each = () => state.litCount * side * side / area; // images to a cell
    const largest = Math.min(LARGEST * ratio, Math.max(2 * CELL * ratio, sheets.facts.tile * 1.5));
    while (each() < ALONE && 2 * side <= largest) side *= 2;
    return {side, crowded: each() > CROWD};
  }

  // One thumbnail a cell of a grid that moves with the map: the image whose place in the sheets comes first.
  thumbnails() {
    const {store: {x, y, count, slot}, view, sheets, state: {lit}, context} = this, {width, height, scale} = view;
    const {side: base, crowded} = this.cells(), cell = crowded ? APART * base : base;
    const left = width / 2 - view.x * scale, top = height / 2 - view.y * scale;
    const firstX = Math.floor(-left / cell), firstY = Math.floor(-top / cell);
    const across = Math.ceil((width - left) / cell) - firstX, down = Math.ceil((height - top) / cell) - firstY;
    const best = new Int32Array(across * down).fill(-1);
    // Of a crowd only images in the middle of a cell are shown, where they are, so that none lies on another.
    const edge = crowded ? 0.2 : 0;
    for (let i = 0; i < count; i++) {
      if (!lit[i]) continue;
      const atX = x[i] * scale / cell, atY = y[i] * scale / cell, column = Math.floor(atX), row = Math.floor(atY);
      if (column < firstX || row < firstY || column >= firstX + across || row >= firstY + down) continue;
      if (edge && (Math.abs(atX - column - 0.5) > 0.5 - edge || Math.abs(atY - row - 0.5) > 0.5 - edge)) continue;
      const at = (row - firstY) * across + column - firstX, other = best[at];
      if (other < 0 || slot[i] < slot[other]) best[at] = i;
    }
    const needed = new Set();
    for (const i of best) if (i >= 0) needed.add(Math.floor(slot[i] / sheets.each));
    const first = [...needed].sort((a, b) => a - b).slice(0, Math.floor(sheets.most * 0.8));
    const bitmap = new Map(first.map(number => [number, sheets.get(number)]));
    this.placed = [];
    context.fillStyle = this.back;
    for (let at = 0; at < best.length; at++) {
      const i = best[at];
      const sheet = i >= 0 && bitmap.get(Math.floor(slot[i] / sheets.each));
      if (!sheet) continue;
      const side = Math.round(crowded ? base * 1.1 : cell * 0.93);
      const cornerX = (at % across + firstX) * cell + left, cornerY = (Math.floor(at / across) + firstY) * cell + top;
      const middleX = crowded ? x[i] * scale + left : cornerX + cell / 2;
      const middleY = crowded ? y[i] * scale + top : cornerY + cell / 2;
      if (!crowded) {
        context.fillStyle = this.back;
        context.fillRect(cornerX - this.radius, cornerY - this.radius, cell + 2 * this.radius, cell + 2 * this.radius);
      }
      this.placed.push([i, Math.round(middleX - side / 2), Math.round(middleY - side / 2), side, sheet]);
    }
    for (const one of this.placed) this.thumbnail(one[4], one[0], one);
  }

  thumbnail(sheet, i, [, left, top, side]) {
    const {context, sheets, store, view: {ratio}, colour} = this, edge = Math.max(1, Math.round(side / 26));
    const value = colour[i];
    context.fillStyle = `rgb(${value & 255},${value >> 8 & 255},${value >> 16 & 255})`;
    context.fillRect(left, top, side, side);
    sheets.paint(context, sheet, store.slot[i], left + edge, top + edge, side - 2 * edge);
    if (this.state.picked[i]) {
      context.strokeStyle = this.mark;
      context.lineWidth = 2 * ratio;
      context.strokeRect(left, top, side, side);
    }
  }

  // The selection, the current image with its neighbours, and the lasso.
  marks() {
    const {context, view, state, store} = this, {ratio} = view;
    if (state.pickedCount) {
      context.fillStyle = this.mark;
      const size = Math.max(2, this.radius + ratio), shown = new Set((state.thumbnails && this.placed || []).map(one => one[0]));
      for (let i = 0; i < store.count; i++) {
        if (!state.picked[i] || shown.has(i)) continue;
        const [sx, sy] = view.toScreen(i);
        context.fillRect(sx - size / 2, sy - size / 2, size, size);
      }
    }
    if (state.current >= 0) {
      const [sx, sy] = view.toScreen(state.current);
      context.strokeStyle = this.accent;
      context.lineWidth = 1.2 * ratio;
      context.globalAlpha = 0.55;
      context.beginPath();
      for (let k = 0; k < store.facts.neighbours; k++) {
        const [ox, oy] = view.toScreen(store.nearest[state.current * store.facts.neighbours + k]);
        context.moveTo(sx, sy);
        context.lineTo(ox, oy);
      }
      context.stroke();
      context.globalAlpha = 1;
      this.focus(state.current, sx, sy);
    }
    if (state.line.length > 2) {
      context.strokeStyle = this.mark;
      context.lineWidth = 2 * ratio;
      context.setLineDash([6 * ratio, 5 * ratio]);
      context.beginPath();
      for (let at = 0; at < state.line.length; at += 2) context.lineTo(state.line[at], state.line[at + 1]);
      context.closePath();
      context.stroke();
      context.setLineDash([]);
    }
  }

  // The current image, larger than the others.
  focus(i, sx, sy) {
    const {context, sheets, store, view: {ratio}} = this, side = Math.round(66 * ratio), left = Math.round(sx - side / 2);
    const sheet = sheets.get(Math.floor(store.slot[i] / sheets.each)), top = Math.round(sy - side / 2), edge = 3 * ratio;
    context.fillStyle = this.accent;
    context.fillRect(left - edge, top - edge, side + 2 * edge, side + 2 * edge);
    if (sheet) sheets.paint(context, sheet, store.slot[i], left, top, side);
  }

  // The image at a point of the screen: the thumbnail that lies there, else the nearest point; -1 for none.
  at(sx, sy) {
    if (this.state.thumbnails) {
      for (const [i, left, top, side] of this.placed ?? []) {
        if (sx >= left && sy >= top && sx < left + side && sy < top + side) return i;
      }
    }
    return this.view.nearestTo(sx, sy, 14 * this.view.ratio, this.state.lit);
  }

  // Colours of all images by a column; returns the legend: entries of [code, words, colour, count], or the ends.
  colourBy(column, dark) {
    const {colour, store: {count}} = this, values = column.values;
    if (column.kind === "number") {
      const sorted = Float32Array.from(values).filter(value => !Number.isNaN(value)).sort();
      const low = sorted[Math.floor(0.01 * (sorted.length - 1))], high = sorted[Math.floor(0.99 * (sorted.length - 1))];
      const stops = RAMP[dark ? "dark" : "light"], table = Array.from({length: 256}, (_, at) => packed(rampAt(stops, at / 255)));
      const none = packed(rgb(OTHER_COLOUR));
      for (let i = 0; i < count; i++) {
        const share = (values[i] - low) / Math.max(high - low, 1e-12);
        colour[i] = Number.isNaN(values[i]) ? none : table[Math.min(255, Math.max(0, Math.round(255 * share)))];
      }
      this.ask();
      return {low, high, stops};
    }
    const counts = new Map();
    for (let i = 0; i < count; i++) counts.set(values[i], (counts.get(values[i]) ?? 0) + 1);
    const order = [...counts].sort((a, b) => (a[0] === column.unknown) - (b[0] === column.unknown) || b[1] - a[1]);
    const coloured = new Map(order.map(([code], place) => [code,
      code === column.unknown || place >= CLASS_COLOURS.length ? OTHER_COLOUR : CLASS_COLOURS[place]]));
    const table = new Map([...coloured].map(([code, hex]) => [code, packed(dark ? mixed(rgb(hex), [255, 255, 255], 0.12) : rgb(hex))]));
    for (let i = 0; i < count; i++) colour[i] = table.get(values[i]);
    this.ask();
    return {entries: order.map(([code, number]) => [code, code === column.unknown ? "unknown" : column.categories[code],
      coloured.get(code), number])};
  }
}
