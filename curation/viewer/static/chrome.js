// @ts-check
// What stands around the map: toolbar, counter, hover card, and the veil for loading and errors.

/** Icons of our own, drawn on a 20 x 20 grid with lines of 1.6. */
const ICONS = {
  pan: 'M10 2.5v15M2.5 10h15M10 2.5l-2.2 2.2M10 2.5l2.2 2.2M10 17.5l-2.2-2.2M10 17.5l2.2-2.2M2.5 10l2.2-2.2M2.5 10l2.2 2.2M17.5 10l-2.2-2.2M17.5 10l-2.2 2.2',
  lasso: 'M6.5 13.2C4.100 12.300 2.500 10.600 2.500 8.600C2.500 5.500 5.900 3 10 3s7.500 2.500 7.500 5.600s-3.400 5.600-7.500 5.600c-.6 0-1.200 0-1.700-.1M8.300 14a1.900 1.900 0 1 1-3.600 0a1.900 1.900 0 0 1 3.600 0M6.800 15.900c0 1-.6 1.700-1.700 2.100',
  box: 'M3 6V3h3M9 3h2M14 3h3v3M17 9v2M17 14v3h-3M11 17H9M6 17H3v-3M3 11V9',
  set: 'M4 4h12v12H4z',
  add: 'M10 4v12M4 10h12',
  subtract: 'M4 10h12',
  in: 'M8.500 14a5.500 5.500 0 1 0 0-11a5.500 5.500 0 0 0 0 11M12.500 12.500L17 17M8.500 6v5M6 8.500h5',
  out: 'M8.500 14a5.500 5.500 0 1 0 0-11a5.500 5.500 0 0 0 0 11M12.500 12.500L17 17M6 8.500h5',
  fit: 'M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4M8 8h4v4H8z',
  invert: 'M10 3a7 7 0 1 0 0 14a7 7 0 0 0 0-14M10 3v14M10 6h5.500M10 9h6.800M10 12h6.500M10 15h4',
  names: 'M4 5.500V4h12v1.500M10 4v12M7.500 16h5',
  clear: 'M5 5l10 10M15 5L5 15',
};

/**
 * Make an element with attributes and children.
 * @param {string} tag
 * @param {Record<string, string>} [attributes]
 * @param {(Node | string)[]} children
 * @returns {HTMLElement}
 */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

/**
 * @param {keyof typeof ICONS} name
 * @returns {SVGElement}
 */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  svg.setAttribute('viewBox', '0 0 20 20');
  svg.setAttribute('aria-hidden', 'true');
  const path = document.createElementNS('http://www.w3.org/2000/svg', 'path');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  return svg;
}

/** @param {number} value */
export const thousands = (value) => value.toLocaleString('en-US');

/**
 * @typedef {{name: keyof typeof ICONS, group: string, label: string, key: string,
 *   does: (map: import('./map.js').CurationMap) => void}} Action
 */

/** Everything the toolbar does; the keys come from here too. @type {Action[]} */
export const ACTIONS = [
  { name: 'pan', group: 'tool', label: 'Move the map', key: 'p', does: (map) => map.setTool('pan') },
  { name: 'lasso', group: 'tool', label: 'Lasso', key: 'l', does: (map) => map.setTool('lasso') },
  { name: 'box', group: 'tool', label: 'Box', key: 'b', does: (map) => map.setTool('box') },
  { name: 'set', group: 'mode', label: 'New selection', key: '', does: (map) => map.setMode('set') },
  { name: 'add', group: 'mode', label: 'Add (hold Shift)', key: '', does: (map) => map.setMode('add') },
  { name: 'subtract', group: 'mode', label: 'Take away (hold Alt)', key: '', does: (map) => map.setMode('subtract') },
  { name: 'in', group: 'view', label: 'Zoom in', key: '+', does: (map) => map.zoomBy(1.6) },
  { name: 'out', group: 'view', label: 'Zoom out', key: '-', does: (map) => map.zoomBy(1 / 1.6) },
  { name: 'fit', group: 'view', label: 'Show everything', key: 'f', does: (map) => map.fit() },
  { name: 'names', group: 'view', label: 'Names on the map', key: 'n', does: (map) => map.toggleNames() },
  { name: 'invert', group: 'select', label: 'Invert the selection', key: 'i', does: (map) => map.invert() },
  { name: 'clear', group: 'select', label: 'Clear the selection', key: 'Escape', does: (map) => map.clear() },
];

/** The toolbar, counter, card and veil of one map. */
export class Chrome {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    this.tools = element('div', { class: 'tools', role: 'toolbar', 'aria-label': 'Map tools', 'aria-orientation': 'vertical' });
    /** @type {Map<string, HTMLElement>} */
    this.buttons = new Map();
    for (const group of ['tool', 'mode', 'view', 'select']) {
      const box = element('div', { class: `group ${group}`, role: 'group' });
      for (const action of ACTIONS.filter((one) => one.group === group)) box.append(this.button(action));
      this.tools.append(box);
    }
    this.count = element('output', { class: 'count', 'aria-live': 'polite' });
    this.hint = element('span', { class: 'hint' });
    this.status = element('div', { class: 'status' }, this.count, this.hint);
    this.picture = /** @type {HTMLImageElement} */ (element('img', { alt: '', draggable: 'false' }));
    this.facts = element('div', { class: 'facts' });
    this.card = element('div', { class: 'card', hidden: '' }, this.picture, this.facts);
    this.picture.addEventListener('load', () => this.picture.classList.remove('waiting'));
    this.picture.addEventListener('error', () => this.picture.classList.add('absent'));
    this.veil = element('div', { class: 'veil', hidden: '', role: 'status' });
  }

  /** @param {Action} action */
  button(action) {
    const { name, group, label, key, does } = action;
    const shown = key === 'Escape' ? 'Esc' : key.toUpperCase();
    const made = element('button', { type: 'button', 'data-act': name, 'aria-label': label }, icon(name));
    const tip = element('span', { class: 'tip', 'aria-hidden': 'true' }, label);
    if (key) {
      made.setAttribute('aria-keyshortcuts', key);
      tip.append(element('kbd', {}, shown));
    }
    made.append(tip);
    if (group !== 'select' && !['in', 'out', 'fit'].includes(name)) made.setAttribute('aria-pressed', 'false');
    made.addEventListener('click', () => does(this.map));
    this.buttons.set(name, made);
    return made;
  }

  /** Show which tool, mode and switches are on, and what is selected. */
  refresh() {
    const { tool, mode, names, selectedCount, n } = this.map;
    const on = new Set([tool, mode, names ? 'names' : '']);
    for (const [name, button] of this.buttons) {
      if (button.hasAttribute('aria-pressed')) button.setAttribute('aria-pressed', String(on.has(name)));
    }
    this.tools.classList.toggle('drawing', tool !== 'pan');
    this.buttons.get('clear')?.toggleAttribute('disabled', !selectedCount);
    this.count.textContent = selectedCount
      ? `${thousands(selectedCount)} of ${thousands(n)} selected`
      : `${thousands(n)} items`;
    this.status.classList.toggle('some', selectedCount > 0);
    this.hint.textContent = {
      pan: 'Drag to move · Shift-drag to lasso · double-click for a whole cluster',
      lasso: 'Draw around items · Shift adds, Alt takes away',
      box: 'Drag a box over items · Shift adds, Alt takes away',
    }[tool];
  }

  /**
   * Show the card of an item, or hide it.
   * @param {{x: number, y: number, url: string, lines: {text: string, color?: string}[]} | null} what
   */
  showCard(what) {
    this.card.hidden = !what;
    if (!what) return;
    const { width, height } = this.map.camera;
    if (this.picture.getAttribute('src') !== what.url) {
      this.picture.classList.remove('absent');
      this.picture.classList.add('waiting');
      this.picture.hidden = !what.url;
      if (what.url) this.picture.src = what.url;
    }
    this.facts.replaceChildren(
      ...what.lines.map(({ text, color }) => {
        const line = element('div', {}, text);
        if (color) line.prepend(element('i', { class: 'swatch', style: `background:${color}` }));
        return line;
      }),
    );
    const { offsetWidth: w, offsetHeight: h } = this.card;
    const left = what.x + 18 + w > width ? what.x - w - 18 : what.x + 18;
    const top = Math.max(8, Math.min(height - h - 8, what.y - h / 2));
    this.card.style.transform = `translate(${Math.max(8, left)}px, ${top}px)`;
  }

  /**
   * Cover the map with a message, or uncover it.
   * @param {string | null} text
   * @param {{wait?: boolean, action?: [string, () => void]}} [options]
   */
  showVeil(text, { wait = false, action } = {}) {
    this.veil.hidden = text === null;
    if (text === null) return;
    const parts = [wait ? element('span', { class: 'spinner' }) : '', element('p', {}, text)];
    if (action) {
      const button = element('button', { type: 'button' }, action[0]);
      button.addEventListener('click', action[1]);
      parts.push(button);
    }
    this.veil.replaceChildren(...parts);
  }
}
