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

  // One image, or a stack of them, larger: by click, touch or key. Escape, the button or a click beside it close it.
  const larger = document.createElement('dialog');
  larger.className = 'larger'; document.body.append(larger);
  larger.onclick = event => { if (event.target === larger) larger.close(); };
  const open = shown => {
    const row = document.createElement('div'), close = document.createElement('button');
    for (const [image, words] of shown) {
      const figure = document.createElement('figure'), caption = document.createElement('figcaption');
      figure.className = shown.length > 1 ? 'many' : 'one';
      caption.textContent = words; figure.append(image, caption); row.append(figure);
    }
    close.type = 'button'; close.textContent = 'close'; close.onclick = () => larger.close();
    hide(); larger.replaceChildren(row, close); larger.showModal();
  };
  for (const figure of all('.neighbours figure, .tiles figure')) {
    const holder = figure.closest('[title]'), caption = figure.querySelector('figcaption');
    const words = holder && figure.closest('li').contains(holder) && holder.title
      || caption && (caption.title ? caption.textContent + ', ' + caption.title : caption.textContent) || '';
    const show = () => {
      const image = figure.querySelector('img').cloneNode();
      image.removeAttribute('width'); image.removeAttribute('height'); open([[image, words]]);
    };
    figure.tabIndex = 0; figure.setAttribute('role', 'button'); figure.onclick = show;
    figure.setAttribute('aria-label', 'larger: ' + words);
    figure.onkeydown = event => { if (event.key === 'Enter' || event.key === ' ') { event.preventDefault(); show(); } };
  }

  for (const map of all('.map')) {
    const part = map.closest('section') || document;
    const copy = cell => {
      const large = document.createElement('b'), style = getComputedStyle(cell), sheet = getComputedStyle(map);
      large.style.backgroundImage = sheet.getPropertyValue('--sheet');
      large.style.backgroundSize = style.backgroundSize; large.style.backgroundPosition = style.backgroundPosition;
      return large;
    };
    const at = cell => cell.style.getPropertyValue('--c') + ' ' + cell.style.getPropertyValue('--r');
    const stack = cell => [...map.children].filter(other => at(other) === at(cell)).reverse();
    map.onpointermove = event => {
      const cell = event.target;
      if (cell.tagName !== 'I' || event.pointerType === 'touch') { hide(); return; }
      const under = cell.dataset.n ? ', and ' + (cell.dataset.n - 1) + ' under it' : '';
      place(event, [copy(cell), cell.dataset.t + under]);
    };
    map.onpointerleave = hide;
    map.onclick = event => {
      if (event.target.tagName === 'I') open(stack(event.target).map(cell => [copy(cell), cell.dataset.t]));
    };
    const chips = all('.chips button[data-kind]', part);
    const only = kind => {
      if (kind) map.dataset.only = kind; else delete map.dataset.only;
      for (const cell of map.children) cell.classList.toggle('lit', kind !== null && cell.classList.contains(kind));
      for (const chip of chips) chip.classList.toggle('on', chip.dataset.kind === kind);
    };
    for (const chip of chips) {
      chip.onclick = () => only(map.dataset.only === chip.dataset.kind ? null : chip.dataset.kind);
    }
    const other = part.querySelector('.chips [data-map]');
    if (other) other.onclick = () => {
      map.classList.toggle('classes');
      [other.textContent, other.dataset.other] = [other.dataset.other, other.textContent];
    };
  }

  // What is wider than the page is moved by the arrow keys, too.
  const wide = () => {
    for (const box of all('.scroll, .map-frame, .others')) {
      if (box.scrollWidth > box.clientWidth) box.tabIndex = 0; else box.removeAttribute('tabindex');
    }
  };
  addEventListener('resize', wide); wide();

  // On paper: light, and everything unfolded.
  let before = null;
  addEventListener('beforeprint', () => {
    before = [root.dataset.theme, all('details:not([open])')];
    root.dataset.theme = 'light'; for (const one of before[1]) one.open = true;
  });
  addEventListener('afterprint', () => {
    if (before[0]) root.dataset.theme = before[0]; else delete root.dataset.theme;
    for (const one of before[1]) one.open = false;
  });

  for (const button of all('.copy')) button.onclick = async () => {
    try { await navigator.clipboard.writeText(button.dataset.copy); button.textContent = 'copied'; }
    catch { const range = document.createRange(); range.selectNodeContents(button.previousElementSibling);
      getSelection().removeAllRanges(); getSelection().addRange(range); button.textContent = 'selected'; }
    setTimeout(() => { button.textContent = 'copy'; }, 1500);
  };
})();
