// @ts-check
// The legend: what the colours mean, how many of each; a click filters by it.
import { element, icon, thousands } from './chrome.js';
import { valueOf, valueText } from './filter.js';
import { cleanedBy, markOf } from './held.js';
import { onPaper } from './points.js';

/** @typedef {import('./data.js').Column} Column */
/** @typedef {import('./filter.js').Wanted} Wanted */
/** @typedef {import('./data.js').LegendEntry & {code: number, shown: string}} Entry */

const SHOWN = 200; // rows in the list; the rest is found by typing
const FILTER_FROM = 9; // rows from which one can search among them
const LATER = 60; // ms in which counts may come after what changed them
const GROUPS = /** @type {Record<string, string>} */ ({
  layout: 'On the map',
  decided: 'Decided by people',
  image: 'The images',
  metadata: 'Metadata',
});
const STEPS_AWAY = /** @type {Record<string, number>} */ ({
  ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -10, PageUp: 10, Home: -100, End: 100,
});
const byName = new Intl.Collator('en', { numeric: true, sensitivity: 'base' });

/** What each list offers. @type {WeakMap<HTMLSelectElement, string>} */
const offers = new WeakMap();

/**
 * Offer fields in a list, grouped where there are several groups.
 * @param {HTMLSelectElement} choice
 * @param {import('./map.js').Field[]} fields
 * @param {string} [hint] stands above them and cannot be chosen
 */
export function offerFields(choice, fields, hint) {
  const text = JSON.stringify(fields.map(({ name, title, group }) => [name, title, group]));
  if (text === offers.get(choice)) return; // an open list must not be rebuilt under the hand
  offers.set(choice, text);
  /** @type {Map<string, HTMLElement>} */
  const groups = new Map();
  for (const { name, title, group = '' } of fields) {
    const label = GROUPS[group] ?? (group || 'Fields');
    if (!groups.has(label)) groups.set(label, element('optgroup', { label }));
    groups.get(label)?.append(element('option', { value: name }, title));
  }
  const only = groups.size === 1 ? [...groups.values()].flatMap(({ children }) => [...children]) : null;
  const first = hint === undefined ? [] : [element('option', { value: '', disabled: '' }, hint)];
  choice.replaceChildren(...first, ...(only ?? groups.values()));
}

/** The list of colours of one map. */
export class Legend {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Column | null} whose legend is written */
    this.column = null;
    /** @type {Entry[]} all of them in the order of the list */
    this.entries = [];
    this.choice = /** @type {HTMLSelectElement} */ (
      element('select', { 'aria-label': 'Colour the items by' })
    );
    this.choice.addEventListener('change', () => map.setColor(this.choice.value));
    this.fold = element('button', { type: 'button', class: 'fold', 'aria-label': 'Legend' });
    this.fold.addEventListener('click', () => this.open(this.root.classList.contains('folded'), true));
    this.search = /** @type {HTMLInputElement} */ (
      element('input', { type: 'search', placeholder: 'Search', 'aria-label': 'Search the legend' })
    );
    this.search.addEventListener('input', () => this.list());
    this.sorting = element('button', { type: 'button', class: 'sort' });
    this.sorting.addEventListener('click', () => this.sortBy(this.sort === 'count' ? 'name' : 'count'));
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.counting = undefined;
    this.total = element('span', { class: 'total' });
    this.finder = element('div', { class: 'finder' }, this.search, this.total, this.sorting);
    this.range = new RangeFilter(map);
    this.rows = element('div', { class: 'rows', role: 'group', 'aria-label': 'Filter by colour' });
    const head = element('div', { class: 'head' }, element('span', {}, 'Colour'), this.choice, this.fold);
    this.root = element('aside', { class: 'legend', 'aria-label': 'Legend' }, head, this.range.root, this.finder, this.rows);
    this.listen();
  }

  listen() {
    const { rows, map } = this;
    rows.addEventListener('click', (event) => this.pressed(event));
    rows.addEventListener('keydown', (event) => this.key(event));
    rows.addEventListener('pointerover', (event) => map.highlight(this.codeAt(event)));
    rows.addEventListener('pointerleave', () => map.highlight(null));
    rows.addEventListener('focusin', (event) => map.highlight(this.codeAt(event)));
    rows.addEventListener('focusout', () => map.highlight(null));
    this.search.addEventListener('keydown', (event) => {
      if (event.key === 'ArrowDown') this.step(event, 1);
      if (event.key === 'Escape' && this.search.value) {
        this.search.value = '';
        this.list();
        event.stopPropagation();
      }
    });
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

  // ---- filtering and selecting ---------------------------------------------------------------

  /** @param {Event} event */
  codeAt(event) {
    const row = /** @type {HTMLElement} */ (event.target).closest('[data-row]');
    return row ? Number(row.getAttribute('data-row')) : null;
  }

  /** The filter by the field that is shown. @returns {Wanted | undefined} */
  get wanted() {
    return this.map.filters.wanted[this.column?.field ?? ''];
  }

  /** @param {MouseEvent} event */
  pressed(event) {
    const code = this.codeAt(event);
    if (code === null) return;
    const take = /** @type {HTMLElement} */ (event.target).closest('[data-take]');
    if (take) this.take(code, event.shiftKey ? 'add' : event.altKey ? 'subtract' : this.map.mode);
    else this.toggle(code);
  }

  /**
   * Show only this value; one more beside it; or one less. The last one taken away ends the filter.
   * @param {number} code -1 = none
   */
  toggle(code) {
    const { column, wanted } = this;
    if (!column) return;
    if (column.values) {
      this.range.toggleNone();
      return;
    }
    const names = new Set(wanted?.codes);
    let none = wanted?.none ?? false;
    if (code < 0) none = !none;
    else {
      const { name } = column.legend[code];
      if (!names.delete(name)) names.add(name);
    }
    const some = names.size || none;
    this.map.filters.set(column.field, some ? { codes: [...names], ...(none ? { none } : {}) } : null);
  }

  /**
   * Select the items of a value, of those that pass the filters.
   * @param {number} code -1 = none
   * @param {import('./lasso.js').Mode} mode
   */
  take(code, mode) {
    const { column, map } = this;
    if (!column) return;
    const { codes, empty } = column;
    const hit = new Uint8Array(map.n);
    if (column.coding === 'bits') {
      for (let i = 0; i < hit.length; i++) hit[i] = code < 0 ? +!codes[i] : (codes[i] >> code) & 1;
    } else {
      const value = code < 0 ? empty : code;
      for (let i = 0; i < hit.length; i++) hit[i] = +(codes[i] === value);
    }
    map.select(hit, mode);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const code = this.codeAt(event);
    if (code === null || event.ctrlKey || event.metaKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    const row = /** @type {HTMLElement} */ (target.closest('[data-row]'));
    const [value, take] = row.querySelectorAll('button');
    const go = /** @type {Record<string, () => void>} */ ({
      ArrowDown: () => this.step(event, 1),
      ArrowUp: () => this.step(event, -1),
      Home: () => this.step(event, -Infinity),
      End: () => this.step(event, Infinity),
      ArrowRight: () => take.focus(),
      ArrowLeft: () => value.focus(),
    });
    if (event.key === 'Enter' && event.shiftKey) this.take(code, this.map.mode);
    else if (go[event.key]) go[event.key]();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /**
   * Move the focus by rows.
   * @param {KeyboardEvent} event
   * @param {number} by
   */
  step(event, by) {
    const all = /** @type {HTMLElement[]} */ ([...this.rows.querySelectorAll('[data-code]')]);
    const row = /** @type {HTMLElement} */ (event.target).closest('[data-row]');
    const from = row ? all.findIndex((one) => row.contains(one)) : -1;
    all[Math.max(0, Math.min(all.length - 1, from + by))]?.focus();
  }

  // ---- what is written -----------------------------------------------------------------------

  /** Offer the fields there are. */
  fill() {
    const { fields, column } = this.map;
    const cluster = { name: 'cluster', title: 'cluster', coding: 'category', seq: 0, group: 'layout' };
    offerFields(this.choice, fields.length ? fields : [cluster]);
    this.choice.value = column?.field ?? '';
  }

  /** Write the legend of the current colouring. */
  refresh() {
    this.fill();
    const { column } = this.map;
    if (!column) return;
    if (this.column?.field !== column.field) this.search.value = '';
    this.column = column;
    this.range.show(column);
    this.gather();
    this.list();
  }

  /** How the list is sorted: by count, but clusters by their number, unless somebody has chosen. */
  get sort() {
    return this.map.memory.sort ?? (this.column?.field === 'cluster' ? 'name' : 'count');
  }

  /** @param {'count' | 'name'} order */
  sortBy(order) {
    this.map.memory.sort = order;
    this.gather();
    this.list();
  }

  /** Put the entries in order, the nameless last. */
  gather() {
    const { column } = this;
    if (!column) return;
    const chosen = new Set(this.wanted?.codes);
    const cluster = column.field === 'cluster';
    const entries = column.legend
      .map((entry, code) => ({ ...entry, code, shown: cluster ? `Cluster ${entry.name}` : entry.name }))
      .filter(({ count, name }) => count || chosen.has(name));
    if (this.sort === 'name') entries.sort((a, b) => byName.compare(a.name, b.name));
    else entries.sort((a, b) => b.count - a.count);
    if (column.none.count) entries.push({ ...column.none, code: -1, shown: column.none.name });
    this.entries = entries;
    this.finder.hidden = entries.length < 3;
    this.search.hidden = entries.length < FILTER_FROM;
    this.total.hidden = !this.search.hidden;
    this.total.textContent = `${entries.length} values`;
    this.sorting.textContent = this.sort === 'count' ? 'by count' : 'by name';
    this.sorting.setAttribute('aria-label', `Sorted by ${this.sort}; sort by ${this.sort === 'count' ? 'name' : 'count'}`);
  }

  /** Write the rows that the search finds. */
  list() {
    const { column, entries } = this;
    if (!column) return;
    const { dark } = this.map;
    const at = this.focused;
    const typed = this.search.value.trim().toLowerCase();
    const found = typed ? entries.filter(({ shown }) => shown.toLowerCase().includes(typed)) : entries;
    this.rows.replaceChildren(...found.slice(0, SHOWN).map((entry) => this.row(entry, dark)));
    if (found.length > SHOWN) {
      this.rows.append(element('p', {}, `${thousands(found.length - SHOWN)} more: type to find them`));
    }
    if (!found.length && !column.values) {
      this.rows.append(element('p', {}, typed ? 'Nothing by this name.' : 'Nothing has a value yet.'));
    }
    this.rows.querySelector('[data-code]')?.setAttribute('tabindex', '0');
    if (at !== null) this.valueButton(at)?.focus();
    this.mark();
    this.markHeld();
  }

  /** Who else cleans the cluster of a row. @param {number} code @returns {string[] | undefined} */
  heldBy(code) {
    if (this.column?.field !== 'cluster') return undefined;
    return this.map.held.holders.get(code < 0 ? '-1' : this.column.legend[code]?.name);
  }

  /** Mark the rows of the clusters that others clean, and write the counts, which say so too. */
  markHeld() {
    for (const button of this.rows.querySelectorAll('[data-code]')) {
      const persons = this.heldBy(Number(button.getAttribute('data-code')));
      button.querySelector('.holders')?.remove();
      if (!persons) continue;
      const mark = markOf(persons);
      mark.title = cleanedBy(persons);
      button.lastChild?.before(mark);
    }
    this.count();
  }

  /** The code of the row that has the focus, or null. */
  get focused() {
    const root = /** @type {Document | ShadowRoot} */ (this.root.getRootNode());
    const row = root.activeElement?.closest('[data-row]');
    return row && this.rows.contains(row) ? Number(row.getAttribute('data-row')) : null;
  }

  /** @param {number} code @returns {HTMLElement | null} */
  valueButton(code) {
    return this.rows.querySelector(`[data-code="${code}"]`);
  }

  /**
   * @param {Entry} entry
   * @param {boolean} dark
   */
  row({ shown, color, code }, dark) {
    const value = element(
      'button',
      { type: 'button', class: 'value', tabindex: '-1', 'data-code': String(code), title: shown },
      element('i', { class: 'swatch', style: `--c:${onPaper(color, dark)}` }),
      element('span', { class: 'name' }, shown),
      element('span', { class: 'number' }),
    );
    const help = `Select ${shown} (Shift adds, Alt takes away)`;
    const take = element(
      'button',
      { type: 'button', class: 'take', tabindex: '-1', 'data-take': String(code), 'aria-label': help, title: help },
      icon('lasso'),
    );
    return element('div', { class: 'row', 'data-row': String(code) }, value, take);
  }

  /** Show which rows the filter lets pass. */
  mark() {
    const { column, wanted } = this;
    if (!column) return;
    const names = new Set(wanted?.codes);
    this.rows.classList.toggle('some', Boolean(wanted) && !column.values);
    for (const button of this.rows.querySelectorAll('[data-code]')) {
      const code = Number(button.getAttribute('data-code'));
      const on = code < 0 ? (column.values ? (wanted?.none ?? !wanted) : wanted?.none) : names.has(column.legend[code]?.name);
      button.setAttribute('aria-pressed', String(Boolean(on)));
    }
    this.range.place();
  }

  /** The counts are out of date: write them soon. */
  recount() {
    this.counting ??= setTimeout(() => {
      this.counting = undefined;
      if (!this.map.abort.signal.aborted) this.count();
    }, LATER);
  }

  /** Write how many items each value has, and how many of them count now. */
  count() {
    const { column, map } = this;
    if (!column || column !== map.column) return;
    const counts = map.filters.countedFor(column.field);
    const parts = counts && tally(column, counts);
    for (const button of this.rows.querySelectorAll('[data-code]')) {
      const code = Number(button.getAttribute('data-code'));
      const total = thousands((code < 0 ? column.none : column.legend[code])?.count ?? 0);
      const part = parts && thousands(parts[code < 0 ? column.legend.length : code]);
      const number = /** @type {HTMLElement} */ (button.lastChild);
      number.replaceChildren(...(part === null ? [total] : [element('b', {}, part), ` / ${total}`]));
      button.classList.toggle('zero', part === '0');
      const name = button.getAttribute('title');
      const held = this.heldBy(code);
      const words = `${name}, ${part === null ? total : `${part} of ${total}`} items`;
      button.setAttribute('aria-label', held ? `${words}, ${cleanedBy(held)}` : words);
    }
    this.range.fillBars(counts);
  }
}

/**
 * Count the items of each value, none last.
 * @param {Column} column
 * @param {Uint8Array} counts 1 = counts
 */
function tally({ codes, coding, legend, empty, values }, counts) {
  const found = new Uint32Array(legend.length + 1);
  const last = legend.length;
  for (let i = 0; i < codes.length; i++) {
    if (!counts[i]) continue;
    const code = codes[i];
    if (coding !== 'bits') found[code === empty || values ? (code === empty ? last : 0) : code]++;
    else if (!code) found[last]++;
    else for (let rest = code; rest; rest &= rest - 1) found[31 - Math.clz32(rest & -rest)]++;
  }
  return found;
}

/** The histogram of a continuous column, with two handles that filter to a range. */
class RangeFilter {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Column | null} */
    this.column = null;
    /** @type {[number, number]} parts of the way from min to max */
    this.ends = [0, 1];
    this.frame = 0;
    /** @type {number | null} the handle under the pointer */
    this.held = null;
    this.bars = element('div', { class: 'bars', 'aria-hidden': 'true' });
    this.handles = ['Lowest', 'Highest'].map((name, end) => {
      const handle = element('button', { type: 'button', class: 'handle', role: 'slider', 'data-end': String(end) });
      handle.setAttribute('aria-label', name);
      handle.addEventListener('keydown', (event) => this.key(event, end));
      return handle;
    });
    this.track = element('div', { class: 'track' }, ...this.handles);
    this.plot = element('div', { class: 'plot' }, this.bars, this.track);
    this.fields = ['Lowest', 'Highest'].map((name, end) => this.field(name, end));
    this.reset = element('button', { type: 'button', class: 'reset', 'aria-label': 'Clear this filter' }, 'reset');
    this.reset.addEventListener('click', () => this.column && map.filters.set(this.column.field, null));
    const typed = element('div', { class: 'ends' }, this.fields[0], this.reset, this.fields[1]);
    this.root = element('div', { class: 'range', role: 'group', 'aria-label': 'Filter by range', hidden: '' }, this.plot, typed);
    this.plot.addEventListener('pointerdown', (event) => this.grab(event));
    this.plot.addEventListener('pointermove', (event) => this.drag(event));
    for (const name of ['pointerup', 'pointercancel', 'lostpointercapture']) {
      this.plot.addEventListener(name, () => this.release());
    }
  }

  /**
   * @param {string} name
   * @param {number} end
   */
  field(name, end) {
    const made = /** @type {HTMLInputElement} */ (
      element('input', { type: 'text', 'aria-label': `${name} value`, spellcheck: 'false', autocomplete: 'off' })
    );
    made.addEventListener('change', () => this.typed(made.value, end));
    return made;
  }

  /** @param {Column} column */
  show(column) {
    this.root.hidden = !column.values;
    this.column = column.values ? column : null;
    if (!this.column) return;
    const { bins = [], min = 0, max = 0 } = column.header;
    const most = Math.max(1, ...bins);
    const colors = this.map.palette(column);
    const [low, high] = [column.header.low ?? min, column.header.high ?? max];
    const colorAt = (/** @type {number} */ value) => {
      const part = Math.max(0, Math.min(1, (value - low) / (high - low || 1)));
      return colors[1 + Math.round(part * (colors.length - 2))];
    };
    this.bars.replaceChildren(
      ...bins.map((count, k) => {
        const color = colorAt(min + ((k + 0.5) / bins.length) * (max - min));
        // The root of the count: a long tail stays visible.
        const height = count ? Math.max(3, 100 * Math.sqrt(count / most)) : 0;
        const bar = element('i', { style: `--h:${height.toFixed(1)}%;--c:${color}` }, element('b', {}));
        bar.setAttribute('data-count', String(count));
        return bar;
      }),
    );
    const stops = Array.from({ length: 17 }, (_, k) => colorAt(min + (k / 16) * (max - min)));
    this.track.style.setProperty('--ramp', `linear-gradient(90deg, ${stops.join(', ')})`);
    this.place();
  }

  /** Put the handles where the filter has its ends. */
  place() {
    const { column, handles, fields, map } = this;
    if (!column) return;
    const { min = 0, max = 0, zero = 0 } = column.header;
    const wanted = map.filters.wanted[column.field];
    const span = max - min || 1;
    const [from, to] = wanted?.range ?? [null, null];
    if (this.held === null && !this.frame) {
      const part = (/** @type {number | null} */ end, /** @type {number} */ open) =>
        end === null ? open : Math.max(0, Math.min(1, (end - zero - min) / span));
      this.ends = [part(from, 0), part(to, 1)];
    }
    this.ends.forEach((part, end) => {
      const text = valueText(column, this.valueAt(end));
      handles[end].style.left = `${100 * part}%`;
      handles[end].setAttribute('aria-valuemin', String(min));
      handles[end].setAttribute('aria-valuemax', String(max));
      handles[end].setAttribute('aria-valuenow', String(this.valueAt(end)));
      handles[end].setAttribute('aria-valuetext', text);
      if (!fields[end].matches(':focus')) fields[end].value = text;
    });
    this.plot.style.setProperty('--from', String(this.ends[0]));
    this.plot.style.setProperty('--to', String(this.ends[1]));
    [...this.bars.children].forEach((bar, k, all) => {
      const middle = (k + 0.5) / all.length;
      bar.classList.toggle('out', middle < this.ends[0] || middle > this.ends[1]);
    });
    this.reset.hidden = !wanted;
  }

  /** @param {number} end 0 or 1 */
  valueAt(end) {
    const { min = 0, max = 0 } = this.column?.header ?? {};
    return min + this.ends[end] * (max - min);
  }

  /**
   * Move a handle; it does not pass the other.
   * @param {number} end
   * @param {number} part
   */
  moveTo(end, part) {
    const [low, high] = end ? [this.ends[0], 1] : [0, this.ends[1]];
    this.ends[end] = Math.max(low, Math.min(high, part));
    // One look at the values for each frame, however many events the pointer sends.
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.tell();
    });
  }

  /** Filter by where the handles are; at an end of the histogram a range is open. */
  tell() {
    const { column, ends, map } = this;
    if (!column) return;
    const { zero = 0 } = column.header;
    const none = map.filters.wanted[column.field]?.none ?? false;
    /** @type {[number | null, number | null]} */
    const range = [ends[0] > 0 ? this.valueAt(0) + zero : null, ends[1] < 1 ? this.valueAt(1) + zero : null];
    this.want(range, none);
  }

  /**
   * @param {[number | null, number | null]} range
   * @param {boolean} none
   */
  want(range, none) {
    const { column, map } = this;
    if (!column) return;
    const all = range[0] === null && range[1] === null;
    const was = map.filters.wanted[column.field];
    const closed = was && !was.range?.some((end) => end !== null); // only what has no value is left out
    map.filters.set(column.field, all && (none || !closed) ? null : { range, none });
    this.place();
  }

  /** Let what has no value pass, or no more. */
  toggleNone() {
    const { column, map } = this;
    if (!column) return;
    const wanted = map.filters.wanted[column.field];
    const none = wanted ? !wanted.none : false;
    const range = wanted?.range ?? [null, null];
    const all = range[0] === null && range[1] === null;
    map.filters.set(column.field, all && none ? null : { range, none });
  }

  /**
   * @param {string} text
   * @param {number} end
   */
  typed(text, end) {
    const { column, map } = this;
    if (!column) return;
    const { zero = 0 } = column.header;
    const value = valueOf(column, text, end === 1);
    const wanted = map.filters.wanted[column.field];
    if (value === null && text.trim()) {
      this.fields[end].value = valueText(column, this.valueAt(end)); // no number: as it was
      return;
    }
    /** @type {[number | null, number | null]} */
    const range = [...(wanted?.range ?? /** @type {[null, null]} */ ([null, null]))];
    range[end] = value === null ? null : value + zero;
    this.want(range, wanted?.none ?? false);
  }

  /** @param {PointerEvent} event */
  partAt(event) {
    const box = this.bars.getBoundingClientRect();
    return (event.clientX - box.left) / (box.width || 1);
  }

  /** @param {PointerEvent} event */
  grab(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // no text is marked; the focus is set by hand
    const handle = /** @type {HTMLElement} */ (event.target).closest('[data-end]');
    const part = this.partAt(event);
    const [from, to] = this.ends;
    const nearest = Math.abs(part - from) < Math.abs(part - to) || part < from ? 0 : 1;
    // Where both handles stand at one place, the one that can still move there is taken.
    const end = handle && to - from > 0.02 ? Number(handle.getAttribute('data-end')) : nearest;
    this.held = end;
    this.handles[end].focus({ preventScroll: true });
    this.plot.setPointerCapture(event.pointerId);
    this.offset = handle ? part - this.ends[end] : 0;
    if (!handle) this.moveTo(end, part);
  }

  /** @param {PointerEvent} event */
  drag(event) {
    if (this.held !== null) this.moveTo(this.held, this.partAt(event) - (this.offset ?? 0));
  }

  release() {
    this.held = null;
  }

  /**
   * @param {KeyboardEvent} event
   * @param {number} end
   */
  key(event, end) {
    const away = STEPS_AWAY[event.key];
    if (!away || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    this.moveTo(end, this.ends[end] + (away / 100) * (event.shiftKey ? 10 : 1));
  }

  /**
   * Show which part of each bar counts.
   * @param {Uint8Array | null} counts 1 = counts
   */
  fillBars(counts) {
    const { column, bars } = this;
    if (!column?.values) return;
    const { bins = [], min = 0, max = 0 } = column.header;
    const found = new Uint32Array(bins.length);
    const scale = bins.length / (max - min || 1);
    if (counts) {
      for (let i = 0; i < column.values.length; i++) {
        const value = column.values[i];
        if (counts[i] && value === value) found[Math.min(bins.length - 1, ((value - min) * scale) | 0)]++;
      }
    }
    [...bars.children].forEach((bar, k) => {
      const part = counts ? found[k] : bins[k];
      /** @type {HTMLElement} */ (bar.firstChild).style.height = bins[k] ? `${100 * Math.sqrt(part / bins[k])}%` : '0';
      bar.setAttribute('data-part', String(part));
    });
  }
}
