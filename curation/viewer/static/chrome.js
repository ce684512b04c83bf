// @ts-check
// What stands around the map: tools, selection bar, pointer, and the veil for trouble.

/** Icons of our own, drawn on a 20 x 20 grid with lines of 1.6. */
const ICONS = {
  atlas: 'M5 6.500h.01M8 4.500h.01M7.500 8.500h.01M13.500 12h.01M16 10.500h.01M15.500 14.500h.01M12 15h.01M5 14.500h.01',
  grid: 'M3.500 3.500h5v5h-5zM11.500 3.500h5v5h-5zM3.500 11.500h5v5h-5zM11.500 11.500h5v5h-5z',
  orbit: 'M10 2.500l6.500 3.750v7.500L10 17.500l-6.500-3.750v-7.500zM10 10l6.500-3.750M10 10L3.500 6.250M10 10v7.500',
  pan: 'M10 2.5v15M2.5 10h15M10 2.5l-2.2 2.2M10 2.5l2.2 2.2M10 17.5l-2.2-2.2M10 17.5l2.2-2.2M2.5 10l2.2-2.2M2.5 10l2.2 2.2M17.5 10l-2.2-2.2M17.5 10l-2.2 2.2',
  lasso: 'M6.5 13.2C4.100 12.300 2.500 10.600 2.500 8.600C2.500 5.500 5.900 3 10 3s7.500 2.500 7.500 5.600s-3.400 5.600-7.500 5.600c-.6 0-1.200 0-1.700-.1M8.300 14a1.900 1.900 0 1 1-3.600 0a1.900 1.900 0 0 1 3.600 0M6.800 15.900c0 1-.6 1.700-1.700 2.100',
  box: 'M3 6V3h3M9 3h2M14 3h3v3M17 9v2M17 14v3h-3M11 17H9M6 17H3v-3M3 11V9',
  brush: 'M16.800 3.200c-1.800.6-6 4-8.200 7.300l1.900 1.900c3.300-2.200 6.700-6.400 7.300-8.200c.3-.9-.1-1.300-1-1M8 11.200c-2.200-.2-3.400 1-3.600 2.700c-.2 1.300-.8 2-1.900 2.300c2.700 1.400 7.200.9 7.300-2.400',
  set: 'M4 4h12v12H4z',
  add: 'M10 4v12M4 10h12',
  subtract: 'M4 10h12',
  intersect: 'M7.500 5a5 5 0 1 0 0 10a5 5 0 0 0 0-10M12.500 5a5 5 0 1 0 0 10a5 5 0 0 0 0-10M10 6.200v7.600',
  zoom: 'M3 6.500V3h3.500M13.500 3H17v3.500M17 13.500V17h-3.500M6.500 17H3v-3.500M10 12.800a2.800 2.800 0 1 0 0-5.600a2.800 2.800 0 0 0 0 5.600',
  grow: 'M10 12a2 2 0 1 0 0-4a2 2 0 0 0 0 4M10 5.500V2.500M10 17.500v-3M5.500 10h-3M17.500 10h-3M8.500 3.800L10 2.300l1.500 1.500M8.500 16.200l1.500 1.500l1.500-1.500M3.800 8.500L2.300 10l1.500 1.500M16.200 8.500l1.500 1.500l-1.500 1.500',
  back: 'M7 4L3.500 7.500L7 11M3.500 7.500h8a4.500 4.500 0 0 1 0 9H8',
  keys: 'M7.300 7.400a2.700 2.700 0 1 1 4.300 2.200c-1 .7-1.600 1.200-1.600 2.500M10 15.300v.1',
  minimap: 'M3 4h14v12H3zM10.500 10h4v3.500h-4z',
  in: 'M8.500 14a5.500 5.500 0 1 0 0-11a5.500 5.500 0 0 0 0 11M12.500 12.500L17 17M8.500 6v5M6 8.500h5',
  out: 'M8.500 14a5.500 5.500 0 1 0 0-11a5.500 5.500 0 0 0 0 11M12.500 12.500L17 17M6 8.500h5',
  fit: 'M3 7V3h4M13 3h4v4M17 13v4h-4M7 17H3v-4M8 8h4v4H8z',
  invert: 'M10 3a7 7 0 1 0 0 14a7 7 0 0 0 0-14M10 3v14M10 6h5.500M10 9h6.800M10 12h6.500M10 15h4',
  names: 'M4 5.500V4h12v1.500M10 4v12M7.500 16h5',
  thumbs: 'M3 4h14v12H3zM3 13.500l4-4l3.500 3.500l2.500-2.500l4 4M13.200 7.400v.1',
  unfilter: 'M3 4h14l-5.300 6.200v4.600l-3.400 2v-6.600zM13.500 13.500l4 4M17.500 13.500l-4 4',
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
 *   does: (map: import('./map.js').CurationMap) => void,
 *   isOn?: (map: import('./map.js').CurationMap) => boolean}} Action what can be on says whether it is
 */

/**
 * An action for a tool.
 * @param {'pan' | import('./stage.js').Shape} name
 * @param {string} label
 * @param {string} key
 * @returns {Action}
 */
const toolAction = (name, label, key) => ({
  name,
  group: 'tool',
  label,
  key,
  does: (map) => map.setTool(name),
  isOn: (map) => map.tool === name,
});

/**
 * An action for a mode.
 * @param {import('./lasso.js').Mode} name
 * @param {string} label
 * @returns {Action}
 */
const modeAction = (name, label) => ({
  name,
  group: 'mode',
  label,
  key: '',
  does: (map) => map.setMode(name),
  isOn: (map) => (map.heldMode ?? map.mode) === name,
});

/** Everything the buttons do; the keys come from here too. @type {Action[]} */
export const ACTIONS = [
  toolAction('pan', 'Move the map', 'p'),
  toolAction('lasso', 'Lasso', 'l'),
  toolAction('box', 'Box', 'b'),
  toolAction('brush', 'Brush', 'd'),
  modeAction('set', 'New selection'),
  modeAction('add', 'Add (hold Shift)'),
  modeAction('subtract', 'Take away (hold Alt)'),
  modeAction('intersect', 'Keep what both have (hold Shift and Alt)'),
  { name: 'in', group: 'view', label: 'Zoom in', key: '+', does: (map) => map.zoomBy(1.6) },
  { name: 'out', group: 'view', label: 'Zoom out', key: '-', does: (map) => map.zoomBy(1 / 1.6) },
  { name: 'fit', group: 'view', label: 'Show everything', key: 'f', does: (map) => map.fit() },
  {
    name: 'names',
    group: 'show',
    label: 'Names on the map',
    key: 'n',
    does: (map) => map.toggleNames(),
    isOn: (map) => map.names,
  },
  {
    name: 'thumbs',
    group: 'show',
    label: 'Pictures on the map',
    key: 't',
    does: (map) => map.toggleThumbnails(),
    isOn: (map) => map.memory.thumbnails,
  },
  { name: 'keys', group: 'help', label: 'All keys', key: '?', does: (map) => map.keySheet.show() },
  { name: 'atlas', group: 'layout', label: 'The map', key: 'm', does: (map) => map.arrangement.show('map') },
  { name: 'grid', group: 'layout', label: 'The grid, or back to the map', key: 'g', does: (map) => map.arrangement.toggle() },
  { name: 'orbit', group: 'layout', label: 'Turn a 3-D map', key: 'o', does: (map) => map.arrangement.show('orbit') },
  { name: 'zoom', group: 'select', label: 'Zoom to the selection', key: 'z', does: (map) => map.fitSelection() },
  { name: 'grow', group: 'select', label: 'Grow by the nearest', key: 'e', does: (map) => map.grow() },
  { name: 'invert', group: 'select', label: 'Invert the selection', key: 'i', does: (map) => map.invert() },
  { name: 'back', group: 'select', label: 'Selection before', key: 'Backspace', does: (map) => map.step(-1) },
  { name: 'unfilter', group: 'filter', label: 'Clear all filters', key: 'h', does: (map) => map.filters.clear() },
  { name: 'clear', group: 'select', label: 'Clear the selection', key: 'Escape', does: (map) => map.clear() },
];

/** A key as it is written on a button. @param {string} key */
export const keyName = (key) => ({ Escape: 'Esc', Backspace: '⌫' })[key] ?? key.toUpperCase();

const SAID = 4500; // ms that a message stays
const BLINK = 250; // ms of waiting that need no words
const SIGNS = { set: '', add: '+', subtract: '−', intersect: '∩' };
const WALKS = /** @type {Record<string, number>} */ ({ ArrowUp: -1, ArrowLeft: -1, ArrowDown: 1, ArrowRight: 1 });

/**
 * One stop of the Tab key for a bar of buttons; the arrow keys walk inside it.
 * @param {HTMLElement} bar
 */
function walkable(bar) {
  const buttons = () => /** @type {HTMLElement[]} */ ([...bar.querySelectorAll('button')]);
  const stop = (/** @type {HTMLElement | undefined} */ here) => {
    if (here) for (const button of buttons()) button.tabIndex = button === here ? 0 : -1;
  };
  bar.addEventListener('focusin', (event) => stop(/** @type {HTMLElement} */ (event.target)));
  bar.addEventListener('keydown', (event) => {
    const seen = buttons().filter((button) => button.offsetParent);
    const at = seen.indexOf(/** @type {HTMLElement} */ (event.target));
    const ends = /** @type {Record<string, number>} */ ({ Home: 0, End: seen.length - 1 });
    const to = ends[event.key] ?? (at + WALKS[event.key] + seen.length) % seen.length;
    if (at < 0 || Number.isNaN(to)) return;
    seen[to].focus();
    event.preventDefault();
    event.stopPropagation();
  });
  stop(buttons()[0]);
}

/** The tools, selection bar, messages and veil of one map. */
export class Chrome {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    this.tools = element('div', { class: 'tools', role: 'toolbar', 'aria-label': 'Map tools', 'aria-orientation': 'vertical' });
    /** @type {Map<string, HTMLElement>} */
    this.buttons = new Map();
    const groups = ['tool', 'mode', 'view', 'show', 'help']; // layouts and filters have controls of their own
    this.tools.append(...groups.map((group) => this.group(group)));
    this.acts = this.group('select');
    this.acts.classList.add('acts');
    this.acts.setAttribute('role', 'toolbar');
    this.acts.setAttribute('aria-label', 'Selection');
    for (const bar of [this.tools, this.acts]) walkable(bar);
    this.count = element('output', { class: 'count', 'aria-live': 'polite' });
    this.hint = element('span', { class: 'hint' });
    this.status = element('div', { class: 'status' }, this.count, this.acts, this.hint);
    this.note = element('div', { class: 'note', role: 'status', hidden: '' });
    this.sign = element('b');
    this.badge = element('div', { class: 'badge', 'aria-hidden': 'true', hidden: '' }, element('i'), this.sign);
    this.veil = element('div', { class: 'veil', hidden: '', role: 'status' });
  }

  /** @param {string} group */
  group(group) {
    const buttons = ACTIONS.filter((one) => one.group === group).map((action) => this.button(action));
    return element('div', { class: `group ${group}`, role: 'group' }, ...buttons);
  }

  /** @param {Action} action */
  button(action) {
    const { name, label, key, does, isOn } = action;
    const made = element('button', { type: 'button', 'data-act': name, 'aria-label': label }, icon(name));
    const tip = element('span', { class: 'tip', 'aria-hidden': 'true' }, label);
    if (key) {
      made.setAttribute('aria-keyshortcuts', key);
      tip.append(element('kbd', {}, keyName(key)));
    }
    made.append(tip);
    if (isOn) made.setAttribute('aria-pressed', 'false');
    made.addEventListener('click', () => does(this.map));
    this.buttons.set(name, made);
    return made;
  }

  /** Show which tool, mode and switches are on, and what is selected. */
  refresh() {
    const { map } = this;
    const { tool, selectedCount, n } = map;
    for (const { name, isOn } of ACTIONS) {
      if (isOn) this.buttons.get(name)?.setAttribute('aria-pressed', String(isOn(map)));
    }
    this.tools.classList.toggle('drawing', tool !== 'pan');
    if (tool === 'pan') this.leaveModes();
    for (const name of ['zoom', 'grow', 'clear']) this.able(name, selectedCount > 0);
    this.able('invert', n > 0);
    this.able('back', map.canStep(-1));
    this.buttons.get('grow')?.setAttribute('aria-busy', String(map.growing));
    this.count.textContent = selectedCount
      ? `${thousands(selectedCount)} of ${thousands(n)} selected`
      : `${thousands(n)} items`;
    this.status.classList.toggle('some', selectedCount > 0);
    this.hint.textContent = {
      pan: 'Drag to move · Shift-drag to lasso · double-click for a whole cluster · ? for all keys',
      lasso: 'Draw around items · Shift adds, Alt takes away, both keep what overlaps',
      box: 'Drag a box over items · Shift adds, Alt takes away, both keep what overlaps',
      brush: 'Paint over items · [ and ] change the brush · Shift adds, Alt takes away',
    }[tool];
    this.refreshPointer();
  }

  /** The modes are hidden now: the stop of the Tab key, and the focus, go to the tool in hand. */
  leaveModes() {
    const stop = /** @type {HTMLElement | null} */ (this.tools.querySelector('.mode [tabindex="0"]'));
    const next = this.buttons.get('pan');
    if (!stop || !next) return;
    const { activeElement } = /** @type {Document | ShadowRoot} */ (stop.getRootNode());
    stop.tabIndex = -1; // what cannot be seen loses the focus here, if not before
    next.tabIndex = 0;
    if (activeElement === stop) next.focus({ preventScroll: true });
  }

  /**
   * A button that has nothing to do stays where it is and can hold the focus.
   * @param {string} name
   * @param {boolean} yes
   */
  able(name, yes) {
    this.buttons.get(name)?.setAttribute('aria-disabled', String(!yes));
  }

  /** The brush and the sign of the mode, at the pointer. */
  refreshPointer() {
    const { root, tool, memory, mode, heldMode } = this.map;
    const now = heldMode ?? mode;
    const draws = tool !== 'pan' || heldMode !== null;
    root.dataset.mode = now;
    this.sign.textContent = draws ? SIGNS[now] : '';
    this.badge.classList.toggle('brush', tool === 'brush');
    this.badge.style.setProperty('--radius', `${memory.radius}px`);
  }

  /** Let brush and sign follow the pointer, or go. @param {[number, number] | null} at */
  pointAt(at) {
    this.badge.hidden = !at;
    if (at) this.badge.style.transform = `translate(${at[0]}px, ${at[1]}px)`;
  }

  /** Say something for a moment. @param {string} text */
  say(text) {
    clearTimeout(this.saying);
    this.note.textContent = text;
    this.note.hidden = false;
    this.saying = setTimeout(() => (this.note.hidden = true), SAID);
  }

  /**
   * Cover the map with a message, or uncover it.
   * @param {string | null} text
   * @param {{wait?: boolean, action?: [string, () => void]}} [options]
   */
  showVeil(text, { wait = false, action } = {}) {
    clearTimeout(this.veiling);
    if (text === null || !wait) this.veil.hidden = text === null;
    else if (this.veil.hidden) this.veiling = setTimeout(() => (this.veil.hidden = false), BLINK);
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
