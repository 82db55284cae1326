"""What the page does by itself: light and dark, values under the pointer, one class at a time, copying commands."""

from __future__ import annotations

SCRIPT = r"""
(() => {
  const root = document.documentElement, all = (query, at = document) => [...at.querySelectorAll(query)];
  const system = matchMedia('(prefers-color-scheme:dark)');
  const dark = () => root.dataset.theme ? root.dataset.theme === 'dark' : system.matches;
  const theme = document.querySelector('.theme');
  const named = () => { theme.textContent = dark() ? 'light' : 'dark'; };
  theme.onclick = () => { root.dataset.theme = dark() ? 'light' : 'dark'; named(); };
  named();

  const tip = document.createElement('div');
  tip.className = 'tip'; tip.hidden = true; document.body.append(tip);
  const place = (event, content) => {
    tip.replaceChildren(...content); tip.hidden = false;
    const box = tip.getBoundingClientRect(), gap = 14;
    const left = event.clientX + gap + box.width > innerWidth ? event.clientX - gap - box.width : event.clientX + gap;
    const top = Math.min(event.clientY + gap, innerHeight - box.height - 8);
    tip.style.left = Math.max(6, left) + 'px'; tip.style.top = Math.max(6, top) + 'px';
  };
  const hide = () => { tip.hidden = true; };

  for (const svg of all('.chart svg[data-points]')) {
    const points = svg.dataset.points.split(';').map(item => {
      const [x, y, ...words] = item.split(',');
      return {x: +x, y: +y, words: words.join(',')};
    });
    const cursor = svg.querySelector('.cursor');
    const line = cursor.querySelector('line'), dot = cursor.querySelector('circle');
    svg.onpointermove = event => {
      const box = svg.getBoundingClientRect(), at = (event.clientX - box.left) / box.width * svg.viewBox.baseVal.width;
      const near = points.reduce((a, b) => Math.abs(b.x - at) < Math.abs(a.x - at) ? b : a);
      cursor.removeAttribute('hidden');
      line.setAttribute('x1', near.x); line.setAttribute('x2', near.x);
      dot.setAttribute('cx', near.x); dot.setAttribute('cy', near.y);
      place(event, [near.words]);
    };
    svg.onpointerleave = () => { cursor.setAttribute('hidden', ''); hide(); };
  }

  const map = document.querySelector('.map');
  if (map) {
    map.onpointermove = event => {
      const cell = event.target;
      if (cell.tagName !== 'I') { hide(); return; }
      const large = document.createElement('b'), style = getComputedStyle(cell), sheet = getComputedStyle(map);
      large.style.backgroundImage = sheet.getPropertyValue('--sheet');
      large.style.backgroundSize = style.backgroundSize; large.style.backgroundPosition = style.backgroundPosition;
      place(event, [large, cell.dataset.t]);
    };
    map.onpointerleave = hide;
    const chips = all('.chips button[data-kind]');
    const only = kind => {
      if (kind) map.dataset.only = kind; else delete map.dataset.only;
      for (const cell of map.children) cell.classList.toggle('lit', kind !== null && cell.classList.contains(kind));
      for (const chip of chips) chip.classList.toggle('on', chip.dataset.kind === kind);
    };
    for (const chip of chips) {
      chip.onclick = () => only(map.dataset.only === chip.dataset.kind ? null : chip.dataset.kind);
    }
    const other = document.querySelector('.chips [data-map]');
    if (other) other.onclick = () => {
      map.classList.toggle('classes');
      [other.textContent, other.dataset.other] = [other.dataset.other, other.textContent];
    };
  }

  for (const button of all('.copy')) button.onclick = async () => {
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = 'copied'; }
    catch { const range = document.createRange(); range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges(); getSelection().addRange(range); button.textContent = 'selected'; }
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  };
})();
"""
"""The content of the script element."""
