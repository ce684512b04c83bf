// @ts-check
// The sheet of all keys, over the map.
import { ACTIONS, element, keyName } from './chrome.js';

const TITLES = /** @type {Record<string, string>} */ ({
  tool: 'Tools',
  mode: 'While drawing',
  view: 'Look',
  show: 'Show',
  layout: 'Layout',
  select: 'Selection',
  filter: 'Legend and filters',
});

/** What no button does. @type {Record<string, [string, string][]>} */
const MORE = {
  mode: [['Shift', 'Add'], ['Alt', 'Take away'], ['Shift Alt', 'Keep what both have'], ['[ ]', 'Smaller, larger brush'], ['Alt wheel', 'Size of the brush']],
  view: [['← ↑ ↓ →', 'Move'], ['Wheel', 'Zoom at the pointer'], ['0', 'Show everything']],
  layout: [['Drag', 'Turn what is in orbit'], ['Shift drag', 'Move it'], ['Double\u00a0click', 'Face it again']],
  select: [['Enter', 'Select the item in the middle'], ['Double\u00a0click', 'Select its cluster'], ['Shift ⌫', 'Next selection']],
  filter: [['Enter', 'In the legend: show only this, or this too'], ['Shift Enter', 'In the legend: select these items'], ['↑ ↓', 'In the legend: the next value'], ['← →', 'On a handle: change the range']],
};

/** A dialog that lists every key; it goes with Escape. */
export class KeySheet {
  /** @param {HTMLElement} host */
  constructor(host) {
    this.host = host;
    this.close = element('button', { type: 'button', class: 'close' }, 'Close');
    const groups = [...new Set(ACTIONS.map(({ group }) => group))].map((group) => this.group(group));
    const head = element('header', {}, element('h2', {}, 'Keys of the map'), this.close);
    const page = element('div', { class: 'page' }, head, element('div', { class: 'lists' }, ...groups));
    this.root = element('div', { class: 'keys', role: 'dialog', 'aria-modal': 'true', 'aria-label': 'Keys of the map', tabindex: '-1', hidden: '' }, page);
    this.close.addEventListener('click', () => this.hide());
    this.root.addEventListener('pointerdown', (event) => event.target === this.root && this.hide());
    this.root.addEventListener('keydown', (event) => this.key(event));
  }

  /** @param {string} group */
  group(group) {
    const own = ACTIONS.filter((one) => one.group === group && one.key).map(({ key, label }) => [keyName(key), label]);
    const list = element('dl');
    for (const [keys, label] of [...own, ...(MORE[group] ?? [])]) {
      const caps = keys.split(' ').map((key) => element('kbd', {}, key));
      list.append(element('div', {}, element('dt', {}, ...caps), element('dd', {}, label)));
    }
    return element('section', {}, element('h3', {}, TITLES[group] ?? group), list);
  }

  get shown() {
    return !this.root.hidden;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    event.stopPropagation(); // the map and the page do not act behind the sheet
    if (event.key === 'Escape' || event.key === '?') this.hide();
    else if (event.key === 'Tab') this.close.focus(); // the one stop that there is
    else return; // the arrows scroll, Enter presses
    event.preventDefault();
  }

  show() {
    const inside = /** @type {Document | ShadowRoot} */ (this.host.getRootNode());
    this.before = /** @type {HTMLElement | null} */ (inside.activeElement);
    this.root.hidden = false;
    this.close.focus();
  }

  hide() {
    this.root.hidden = true;
    (this.host.contains(this.before ?? null) ? this.before : this.host)?.focus({ preventScroll: true });
  }
}
