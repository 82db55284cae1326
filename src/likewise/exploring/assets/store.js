"use strict";
// What the page holds: facts, arrays, names, and the sheets of thumbnails, which are decoded when they are needed.

const TYPES = {uint16: Uint16Array, uint32: Uint32Array, float32: Float32Array};
const SHEET_MEMORY = 176e6; // bytes of decoded sheets that are kept
const AT_ONCE = 3; // sheets that are decoded at the same time

const fromBase64 = text => {
  if (Uint8Array.fromBase64) return Uint8Array.fromBase64(text);
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
};

const unpacked = async id => {
  const holder = document.getElementById(id), packed = fromBase64(holder.textContent);
  holder.remove();
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
};

const openStore = async () => {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const bytes = await unpacked("arrays");
  const array = name => {
    const {type, at, length} = facts.arrays[name];
    return new TYPES[type](bytes.buffer, at, length);
  };
  const names = new TextDecoder().decode(await unpacked("names")).split("\n");
  const columns = facts.columns.map((column, number) => ({...column, values: array("column" + number)}));
  const count = facts.count, x = new Float32Array(count), y = new Float32Array(count);
  const wholeX = array("x"), wholeY = array("y");
  for (let i = 0; i < count; i++) { x[i] = wholeX[i] / 65535; y[i] = wholeY[i] / 65535; }
  const similar = level => level / 32767.5 - 1;
  return {
    facts, count, names, columns, x, y, slot: array("slot"),
    nearest: array("nearest"), pairs: array("pairs"), outliers: array("outliers"),
    similarity: (i, k) => similar(array("similarity")[i * facts.neighbours + k]),
    pairSimilarity: pair => similar(array("pairSimilarity")[pair]),
    copies: new Set(facts.copies),
    // The value of a column for people, or null.
    said(column, i) {
      const value = column.values[i];
      if (column.kind === "number") return Number.isNaN(value) ? null : String(+value.toPrecision(4));
      return value === column.unknown ? null : column.categories[value];
    },
  };
};

class Sheets {
  constructor(facts, ready) {
    this.facts = facts;
    this.ready = ready;
    this.held = new Map(); // number -> bitmap, the one used last at the end
    this.waiting = new Map(); // number -> functions that want it
    this.running = 0;
    this.each = facts.across * facts.across;
    this.most = Math.max(4, Math.floor(SHEET_MEMORY / (4 * (facts.across * facts.tile) ** 2)));
  }

  // The sheet if it is decoded; else null, and it will be.
  get(number) {
    const bitmap = this.held.get(number);
    if (bitmap) {
      this.held.delete(number);
      this.held.set(number, bitmap);
      return bitmap;
    }
    if (!this.waiting.has(number)) { this.waiting.set(number, []); this.pump(); }
    return null;
  }

  has(number) { return this.held.has(number); }

  wait(number) {
    const bitmap = this.get(number);
    return bitmap ? Promise.resolve(bitmap) : new Promise(done => this.waiting.get(number).push(done));
  }

  pump() {
    for (const number of this.waiting.keys()) {
      if (this.running >= AT_ONCE) return;
      if (this.started?.has(number)) continue;
      (this.started ??= new Set()).add(number);
      this.running++;
      this.decoded(number).then(bitmap => {
        this.running--;
        this.started.delete(number);
        this.keep(number, bitmap);
        for (const done of this.waiting.get(number)) done(bitmap);
        this.waiting.delete(number);
        this.pump();
        this.ready();
      });
    }
  }

  keep(number, bitmap) {
    this.held.set(number, bitmap);
    for (const [old, other] of this.held) {
      if (this.held.size <= this.most) break;
      if (this.waiting.has(old)) continue;
      this.held.delete(old);
      other.close();
    }
  }

  async decoded(number) {
    const inside = document.getElementById("sheet" + number);
    const blob = inside ? new Blob([fromBase64(inside.textContent)], {type: this.facts.mime})
      : await (await fetch("sheets/" + number)).blob();
    return createImageBitmap(blob);
  }

  // Draw the thumbnail in `slot` from a decoded sheet.
  paint(context, bitmap, slot, left, top, width) {
    const inside = slot % this.each, side = this.facts.tile, across = this.facts.across;
    context.drawImage(bitmap, inside % across * side, Math.floor(inside / across) * side, side, side,
      left, top, width, width);
  }
}
