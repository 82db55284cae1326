(() => {
  for (const board of document.querySelectorAll('.patches')) {
    const bytes = text => Uint8Array.from(atob(text), one => one.charCodeAt(0));
    const rows = +board.dataset.rows, columns = +board.dataset.columns, each = rows * columns;
    const cells = new Int8Array(bytes(board.dataset.cells).buffer), scale = board.dataset.scale ** 2;
    const looks = board.dataset.attention && bytes(board.dataset.attention);
    const boxes = [...board.querySelectorAll('.patched')], total = boxes.length * each, length = cells.length / total;
    const said = board.parentElement.querySelector('.said'), look = board.parentElement.querySelector('.look');
    let chosen = Math.floor(rows / 2) * columns + Math.floor(columns / 2), attending = false;

    const paint = (number, strength, marked) => {
      const canvas = boxes[number].querySelector('canvas'), context = canvas.getContext('2d');
      const side = Math.ceil(280 / Math.max(rows, columns)), width = canvas.width = side * columns;
      const height = canvas.height = side * rows;
      context.clearRect(0, 0, width, height);
      for (let cell = 0; cell < each; cell++) {
        const alpha = strength(number * each + cell);
        if (alpha < .02) continue;
        context.fillStyle = 'rgba(240,110,20,' + (.78 * alpha).toFixed(3) + ')';
        context.fillRect(cell % columns * side, Math.floor(cell / columns) * side, side, side);
      }
      if (marked === null) return;
      const x = marked % columns * side, y = Math.floor(marked / columns) * side;
      const own = number * each + marked === chosen;
      for (const [colour, wide] of [['#000', own ? 9 : 5], [own ? '#fff' : '#ffd9b8', own ? 5 : 2.5]]) {
        context.strokeStyle = colour; context.lineWidth = wide; context.strokeRect(x + 4, y + 4, side - 8, side - 8);
      }
    };
    const show = () => {
      if (attending) {
        for (let number = 0; number < boxes.length; number++) paint(number, at => looks[at] / 255, null);
        said.textContent = 'Coloured is how much the class token looks at each patch; full is the most in its image.';
        return;
      }
      const alike = new Float32Array(total), from = chosen * length;
      for (let at = 0; at < total; at++) {
        let sum = 0;
        for (let d = 0; d < length; d++) sum += cells[from + d] * cells[at * length + d];
        alike[at] = sum * scale;
      }
      const middle = Float32Array.from(alike).sort()[total >> 1], span = Math.max(1e-6, 1 - middle), best = [];
      for (let number = 0; number < boxes.length; number++) {
        let top = number * each;
        for (let at = top; at < (number + 1) * each; at++) if (alike[at] > alike[top]) top = at;
        const own = Math.floor(chosen / each) === number, marked = own ? chosen : top;
        paint(number, at => Math.max(0, (alike[at] - middle) / span), marked - number * each);
        if (!own) best.push([alike[top], boxes[number].dataset.name]);
      }
      best.sort((a, b) => b[0] - a[0]);
      const cell = chosen % each, name = boxes[Math.floor(chosen / each)].dataset.name;
      const others = best.slice(0, 4).map(([value, other]) => other + ' ' + value.toFixed(2)).join(', ');
      said.textContent = 'Row ' + (Math.floor(cell / columns) + 1) + ', column ' + (cell % columns + 1) + ' of ' + name
        + '; most alike elsewhere: ' + others
        + '; the median of all is ' + middle.toFixed(2) + '.';
    };
    const choose = at => {
      chosen = at; attending = false; if (look) look.setAttribute('aria-pressed', 'false'); show();
    };
    boxes.forEach((box, number) => {
      box.onclick = event => {
        const place = box.getBoundingClientRect();
        const at = (share, count) => Math.min(count - 1, Math.max(0, Math.floor(share * count)));
        const column = at((event.clientX - place.left) / place.width, columns);
        choose(number * each + at((event.clientY - place.top) / place.height, rows) * columns + column);
      };
      box.onkeydown = event => {
        const steps = {ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Enter: [0, 0]};
        const step = steps[event.key];
        if (!step) return;
        event.preventDefault();
        const own = Math.floor(chosen / each) === number, cell = own ? chosen - number * each : 0;
        const row = Math.min(rows - 1, Math.max(0, Math.floor(cell / columns) + step[0]));
        choose(number * each + row * columns + Math.min(columns - 1, Math.max(0, cell % columns + step[1])));
      };
    });
    if (look) look.onclick = () => {
      attending = !attending; look.setAttribute('aria-pressed', String(attending)); show();
    };
    show();
  }
})();
