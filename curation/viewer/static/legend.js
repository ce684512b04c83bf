// @ts-check
// The legend: what the colours mean, how many of each, and a click that selects them.
import { element, thousands } from './chrome.js';
import { onPaper } from './points.js';

const SHOWN = 200; // rows in the list; the rest is found by typing
const FILTER_FROM = 13; // rows from which a filter is offered

/** The list of colours of one map. */
export class Legend {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {string | undefined} the field whose legend is written */
    this.listed = undefined;
    this.choice = /** @type {HTMLSelectElement} */ (
      element('select', { 'aria-label': 'Colour the items by' })
    );
    this.choice.addEventListener('change', () => map.setColor(this.choice.value));
    this.fold = element('button', { type: 'button', class: 'fold', 'aria-label': 'Legend' });
    this.fold.addEventListener('click', () => this.open(this.root.classList.contains('folded'), true));
    this.filter = /** @type {HTMLInputElement} */ (
      element('input', { type: 'search', placeholder: 'Filter', 'aria-label': 'Filter the legend' })
    );
    this.filter.addEventListener('input', () => this.list());
    this.rows = element('div', { class: 'rows', role: 'group', 'aria-label': 'Select by colour' });
    const head = element('div', { class: 'head' }, element('span', {}, 'Colour'), this.choice, this.fold);
    this.root = element('aside', { class: 'legend', 'aria-label': 'Legend' }, head, this.filter, this.rows);
    this.rows.addEventListener('click', (event) => this.pressed(event));
    this.rows.addEventListener('pointerover', (event) => map.highlight(this.codeAt(event)));
    this.rows.addEventListener('pointerleave', () => map.highlight(null));
    this.rows.addEventListener('focusin', (event) => map.highlight(this.codeAt(event)));
    this.rows.addEventListener('focusout', () => map.highlight(null));
  }

  /** Pixels that the open legend covers at the map's right side. */
  get covers() {
    return this.root.classList.contains('folded') ? 0 : this.root.offsetWidth;
  }

  /**
   * @param {boolean} yes
   * @param {boolean} [chosen] by the person, who finds it so again
   */
  open(yes, chosen = false) {
    this.root.classList.toggle('folded', !yes);
    this.fold.setAttribute('aria-expanded', String(yes));
    if (!chosen) return;
    this.map.memory.legend = yes;
    this.map.resized(); // what it covered is free, or the other way round
  }

  /** @param {Event} event */
  codeAt(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest('[data-code]');
    return row ? Number(row.getAttribute('data-code')) : null;
  }

  /** @param {MouseEvent} event */
  pressed(event) {
    const code = this.codeAt(event);
    if (code === null) return;
    this.map.selectCode(code, event.shiftKey ? 'add' : event.altKey ? 'subtract' : this.map.mode);
  }

  /** Offer the fields there are. */
  fill() {
    const { fields, column } = this.map;
    this.choice.replaceChildren(...fields.map((field) => element('option', { value: field }, field)));
    this.choice.value = column?.field ?? '';
  }

  /** Write the legend of the current colouring. */
  refresh() {
    this.fill();
    if (this.listed !== this.map.column?.field) this.filter.value = '';
    this.listed = this.map.column?.field;
    this.list();
  }

  list() {
    const { column, dark } = this.map;
    if (!column) return;
    const entries = column.legend
      .map((entry, code) => ({ ...entry, code }))
      .filter(({ count }) => count);
    if (column.field !== 'cluster') entries.sort((a, b) => b.count - a.count);
    if (column.none.count) entries.push({ ...column.none, code: -1 });
    this.filter.hidden = entries.length < FILTER_FROM;
    const wanted = this.filter.value.trim().toLowerCase();
    const found = entries.filter(({ name }) => name.toLowerCase().includes(wanted));
    this.rows.replaceChildren(...found.slice(0, SHOWN).map((entry) => this.row(entry, dark)));
    if (found.length > SHOWN) {
      const more = `${thousands(found.length - SHOWN)} more: type to filter`;
      this.rows.append(element('p', {}, more));
    }
    if (!found.length) this.rows.append(element('p', {}, 'Nothing by this name.'));
  }

  /**
   * @param {import('./data.js').LegendEntry & {code: number}} entry
   * @param {boolean} dark
   */
  row({ name, count, color, code }, dark) {
    const swatch = element('i', { class: 'swatch', style: `background:${onPaper(color, dark)}` });
    const shown = this.map.column?.field === 'cluster' && code >= 0 ? `Cluster ${name}` : name;
    return element(
      'button',
      { type: 'button', 'data-code': String(code), title: shown, 'aria-label': `Select ${shown}, ${count} items` },
      swatch,
      element('span', { class: 'name' }, shown),
      element('span', { class: 'number' }, thousands(count)),
    );
  }
}
