// Where the map is looked at from, and which images are where: nothing here draws.

const NEAR = 64; // the nearest one may come, in times of the whole map, per thousand images
class View {
  constructor(store) {
    this.store = store;
    this.width = this.height = 1;
    let low = 1, high = 0, left = 1, right = 0;
    for (let i = 0; i < store.count; i++) {
      low = Math.min(low, store.y[i]); high = Math.max(high, store.y[i]);
      left = Math.min(left, store.x[i]); right = Math.max(right, store.x[i]);
    }
    this.bounds = {left, right, low, high};
    this.x = this.y = 0.5;
    this.scale = this.whole = 1; // pixels of the screen for the side of the map
  }

  resize(width, height, ratio) {
    const {left, right, low, high} = this.bounds, before = this.scale / this.whole;
    [this.width, this.height, this.ratio] = [width, height, ratio];
    const margin = 0.9;
    this.whole = margin * Math.min(width / Math.max(right - left, 1e-3), height / Math.max(high - low, 1e-3));
    this.scale = this.whole * before;
  }

  fit() {
    const {left, right, low, high} = this.bounds;
    [this.x, this.y, this.scale] = [(left + right) / 2, (low + high) / 2, this.whole];
  }

  toScreen(i) {
    return [(this.store.x[i] - this.x) * this.scale + this.width / 2,
      (this.store.y[i] - this.y) * this.scale + this.height / 2];
  }

  zoom(factor, atX = this.width / 2, atY = this.height / 2) {
    const most = this.whole * Math.max(8, NEAR * Math.sqrt(this.store.count / 1000));
    const scale = Math.min(most, Math.max(this.whole * 0.7, this.scale * factor));
    const dx = (atX - this.width / 2), dy = (atY - this.height / 2);
    this.x += dx / this.scale - dx / scale;
    this.y += dy / this.scale - dy / scale;
    this.scale = scale;
    this.hold();
  }

  move(dx, dy) {
    this.x -= dx / this.scale;
    this.y -= dy / this.scale;
    this.hold();
  }

  hold() {
    const {left, right, low, high} = this.bounds;
    this.x = Math.min(right, Math.max(left, this.x));
    this.y = Math.min(high, Math.max(low, this.y));
  }

  // Bring an image into view, near enough to be seen among others.
  show(i) {
    const [sx, sy] = this.toScreen(i), edge = 60 * this.ratio;
    if (sx < edge || sy < edge || sx > this.width - edge || sy > this.height - edge) {
      [this.x, this.y] = [this.store.x[i], this.store.y[i]];
    }
  }

  // The image whose place on the screen is nearest to a point, within `reach` pixels; -1 for none.
  nearestTo(sx, sy, reach, lit) {
    const {x, y, count} = this.store, wx = (sx - this.width / 2) / this.scale + this.x;
    const wy = (sy - this.height / 2) / this.scale + this.y;
    let best = -1, least = (reach / this.scale) ** 2;
    for (let i = 0; i < count; i++) {
      const dx = x[i] - wx, dy = y[i] - wy, distance = dx * dx + dy * dy;
      if (distance < least && lit[i]) { least = distance; best = i; }
    }
    return best;
  }

  // The next image from `from` in the direction (dx, dy): near, and not far aside.
  towards(from, dx, dy, lit) {
    const {x, y, count} = this.store;
    let best = -1, least = Infinity;
    for (let i = 0; i < count; i++) {
      const along = (x[i] - x[from]) * dx + (y[i] - y[from]) * dy;
      const aside = Math.abs((x[i] - x[from]) * dy) + Math.abs((y[i] - y[from]) * dx);
      if (along > 0 && along >= aside && lit[i] && i !== from) {
        const cost = along + 2 * aside;
        if (cost < least) { least = cost; best = i; }
      }
    }
    return best;
  }
}

// The images inside a closed line of screen points [x0, y0, x1, y1, ...].
const inside = (view, line, lit) => {
  const found = [], {store} = view;
  for (let i = 0; i < store.count; i++) {
    if (!lit[i]) continue;
    const [sx, sy] = view.toScreen(i);
    let odd = false;
    for (let a = 0, b = line.length - 2; a < line.length; b = a, a += 2) {
      const ya = line[a + 1], yb = line[b + 1];
      if (ya > sy !== yb > sy && sx < (line[b] - line[a]) * (sy - ya) / (yb - ya) + line[a]) odd = !odd;
    }
    if (odd) found.push(i);
  }
  return found;
};
