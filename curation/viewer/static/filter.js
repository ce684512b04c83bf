// @ts-check
// Filters: which items pass, over several fields at once, and the chips that say so.
import { element, icon, thousands } from './chrome.js';

/** @typedef {import('./data.js').Column} Column */
/**
 * What one filter lets pass, as plain JSON that outlives a legend: values by name, or a range of
 * numbers (seconds since 1970 where the field is a time) whose open ends are null; and what has none.
 * @typedef {{codes?: string[], range?: [number | null, number | null], none?: boolean}} Wanted
 */

const NAMED = 3; // values that a chip names
const DAY = 86400;

/**
 * A number of a continuous column as one writes it.
 * @param {Column} column
 * @param {number} value as in the column: of a time, seconds since its zero
 */
export function valueText(column, value) {
  const { unit, zero = 0, min = 0, max = 0 } = column.header;
  const span = Math.abs(max - min);
  if (unit === 'time') {
    const moment = new Date((value + zero) * 1000);
    if (!Number.isFinite(moment.getTime())) return '';
    return moment.toISOString().slice(0, span > 3 * DAY ? 10 : 16).replace('T', ' ');
  }
  const largest = Math.max(Math.abs(min), Math.abs(max));
  if (value && (largest >= 1e9 || largest < 1e-4)) return value.toPrecision(3);
  const digits = Math.max(0, Math.min(6, 2 - Math.floor(Math.log10(span || Math.abs(value) || 1))));
  return String(Number(value.toFixed(digits)));
}

/**
 * The number behind what somebody typed, or null where it is none.
 * @param {Column} column
 * @param {string} text
 * @param {boolean} end a day as the end of a range is meant to its last second
 */
export function valueOf(column, text, end) {
  const { unit, zero = 0 } = column.header;
  const typed = text.trim();
  if (unit !== 'time') return typed && Number.isFinite(Number(typed)) ? Number(typed) : null;
  const [, day, clock] = /^(\d{4}(?:-\d\d){0,2})(?:[ T](\d\d:\d\d(?::\d\d)?))?$/.exec(typed) ?? [];
  const at = Date.parse(clock ? `${day}T${clock}Z` : day) / 1000;
  if (!Number.isFinite(at)) return null;
  if (!end || clock) return at - zero;
  const next = new Date(at * 1000);
  if (day.length === 4) next.setUTCFullYear(next.getUTCFullYear() + 1);
  else if (day.length === 7) next.setUTCMonth(next.getUTCMonth() + 1);
  else next.setUTCDate(next.getUTCDate() + 1);
  return next.getTime() / 1000 - 1 - zero;
}

/**
 * Mark what a filter does not let pass: one pass over the column.
 * @param {Column} column
 * @param {Wanted} wanted
 * @returns {Uint8Array} 1 = fails
 */
export function failsOf(column, wanted) {
  const { values, codes } = column;
  const fails = new Uint8Array(codes.length);
  const bare = wanted.none ? 0 : 1;
  if (values) {
    const { zero = 0 } = column.header;
    const [from, to] = wanted.range ?? [null, null];
    const [low, high] = [from === null ? -Infinity : from - zero, to === null ? Infinity : to - zero];
    for (let i = 0; i < fails.length; i++) {
      const value = values[i];
      fails[i] = value >= low && value <= high ? 0 : value !== value ? bare : 1; // NaN is not itself
    }
    return fails;
  }
  const names = new Set(wanted.codes);
  if (column.coding === 'bits') {
    let mask = 0;
    column.legend.forEach(({ name }, bit) => (mask |= names.has(name) ? 1 << bit : 0));
    for (let i = 0; i < fails.length; i++) fails[i] = codes[i] & mask ? 0 : codes[i] ? 1 : bare;
    return fails;
  }
  const table = Uint8Array.from(column.legend, ({ name }) => +!names.has(name));
  const { empty } = column;
  for (let i = 0; i < fails.length; i++) fails[i] = codes[i] === empty ? bare : table[codes[i]];
  return fails;
}

/**
 * Whether something that was kept is a filter.
 * @param {any} it
 * @returns {it is Wanted}
 */
function isWanted(it) {
  const isEnd = (/** @type {unknown} */ end) => end === null || Number.isFinite(end);
  return (
    typeof it === 'object' && it !== null &&
    (it.codes === undefined || (Array.isArray(it.codes) && it.codes.every((/** @type {unknown} */ name) => typeof name === 'string'))) &&
    (it.range === undefined || (Array.isArray(it.range) && it.range.length === 2 && it.range.every(isEnd))) &&
    (it.none === undefined || typeof it.none === 'boolean')
  );
}

/** The filters of one map. */
export class Filters {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Map<string, {column: Column, text: string, fails: Uint8Array}>} the filters in force */
    this.parts = new Map();
    /** @type {Uint8Array} how many filters each item fails */
    this.misses = new Uint8Array(0);
    this.passing = 0;
    this.note = element('output', { class: 'passing', 'aria-live': 'polite' });
    this.chips = element('span', { class: 'list' });
    this.root = element('div', { class: 'chips', role: 'group', 'aria-label': 'Filters', hidden: '' }, this.note, this.chips);
    this.chips.addEventListener('click', (event) => this.pressed(event));
  }

  /** The filters that are wanted, by field; they live in the map's memory. @returns {Record<string, Wanted>} */
  get wanted() {
    return /** @type {Record<string, Wanted>} */ (this.map.memory.filters);
  }

  /**
   * Filter by a field, or no more by it.
   * @param {string} field
   * @param {Wanted | null} wanted
   */
  set(field, wanted) {
    if (wanted) this.wanted[field] = wanted;
    else delete this.wanted[field];
    this.apply();
  }

  clear() {
    this.map.memory.filters = {};
    this.apply();
  }

  /** Forget what was worked out: the items are others. */
  reset() {
    this.parts.clear();
    this.misses = new Uint8Array(this.map.n);
    this.map.hidden = null;
  }

  /** Bring the mask up to date: only what changed, in the filters or in their columns, is looked at. */
  apply() {
    const { map, parts, wanted } = this;
    if (this.misses.length !== map.n) this.reset();
    for (const field of Object.keys(wanted)) if (!isWanted(wanted[field])) delete wanted[field];
    let changed = false;
    for (const field of new Set([...parts.keys(), ...Object.keys(wanted)])) {
      const column = map.columns.get(field);
      const text = JSON.stringify(wanted[field]);
      const part = parts.get(field);
      if (part ? part.column === column && part.text === text : !column || !text) continue;
      this.replace(field, part, column && text ? { column, text, fails: failsOf(column, wanted[field]) } : null);
      changed = true;
    }
    if (!changed) return;
    this.mask();
    this.list();
    map.filtered();
  }

  /**
   * @param {string} field
   * @param {{fails: Uint8Array} | undefined} before
   * @param {{column: Column, text: string, fails: Uint8Array} | null} after
   */
  replace(field, before, after) {
    const { misses } = this;
    const [was, is] = [before?.fails, after?.fails];
    if (was && is) for (let i = 0; i < misses.length; i++) misses[i] += is[i] - was[i];
    else if (is) for (let i = 0; i < misses.length; i++) misses[i] += is[i];
    else if (was) for (let i = 0; i < misses.length; i++) misses[i] -= was[i];
    if (after) this.parts.set(field, after);
    else this.parts.delete(field);
  }

  mask() {
    const { misses, map } = this;
    this.passing = map.n;
    if (!this.parts.size) {
      map.hidden = null;
      return;
    }
    const hidden = new Uint8Array(map.n);
    let count = 0;
    for (let i = 0; i < hidden.length; i++) {
      hidden[i] = misses[i] ? 1 : 0;
      count += hidden[i];
    }
    map.hidden = hidden;
    this.passing -= count;
  }

  /**
   * What counts in the legend of a field: the items that pass all other filters and, where there is a
   * selection, are selected. Null where that is all of them.
   * @param {string} field
   * @returns {Uint8Array | null} 1 = counts
   */
  countedFor(field) {
    const { misses, parts, map } = this;
    const own = parts.get(field)?.fails;
    const others = parts.size - (own ? 1 : 0);
    const selected = map.selectedCount ? map.memory.selected : null;
    if (!others && !selected) return null;
    const counts = selected ? selected.slice() : new Uint8Array(map.n).fill(1);
    if (own) for (let i = 0; i < counts.length; i++) counts[i] &= +(misses[i] === own[i]);
    else for (let i = 0; i < counts.length; i++) counts[i] &= +!misses[i];
    return counts;
  }

  /** Say how many pass, and how many of the selected do not. */
  say() {
    const { map, passing, parts } = this;
    const { hidden, selectedCount, n } = map;
    this.root.hidden = !parts.size;
    Object.assign(map.root.dataset, { passing: String(hidden ? passing : n), filters: String(parts.size) });
    if (!hidden) return;
    let out = 0;
    if (selectedCount) for (let i = 0; i < n; i++) out += hidden[i] & map.memory.selected[i];
    const lost = out ? ` · ${thousands(out)} of the selected ${out === 1 ? 'is' : 'are'} filtered out` : '';
    const pass = passing === 1 ? 'passes' : 'pass';
    const text = `${thousands(passing)} of ${thousands(n)} ${pass} the filter${parts.size > 1 ? 's' : ''}${lost}`;
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  /** Write one chip for each field. */
  list() {
    const chips = [...this.parts].map(([field, { column }]) => this.chip(field, column));
    if (chips.length > 1) {
      const all = element('button', { type: 'button', class: 'all', 'data-clear': '', 'aria-keyshortcuts': 'h' });
      all.append(icon('unfilter'), 'Clear all');
      chips.push(all);
    }
    this.chips.replaceChildren(...chips);
  }

  /**
   * @param {string} field
   * @param {Column} column
   */
  chip(field, column) {
    const title = this.map.titleOf(field);
    const text = this.text(column, this.wanted[field]);
    const name = element('button', { type: 'button', class: 'to', 'data-to': field, title: `Colour by ${title}` });
    name.append(element('b', {}, title), ` ${text}`);
    const cross = element('button', { type: 'button', class: 'off', 'data-off': field }, '×');
    cross.setAttribute('aria-label', `Clear the filter by ${title}`);
    return element('span', { class: 'chip', 'data-chip': field }, name, cross);
  }

  /**
   * @param {Column} column
   * @param {Wanted} wanted
   */
  text(column, { codes = [], range, none }) {
    if (!column.values) {
      const names = none ? [...codes, column.none.name] : codes;
      const more = names.length > NAMED ? ` +${thousands(names.length - NAMED)}` : '';
      return names.slice(0, NAMED).join(', ') + more;
    }
    const { zero = 0 } = column.header;
    const [from, to] = (range ?? [null, null]).map((end) => (end === null ? '' : valueText(column, end - zero)));
    const within = from && to ? `${from} – ${to}` : from ? `from ${from}` : to ? `up to ${to}` : 'any value';
    return within + (none && (from || to) ? ` or ${column.none.name}` : '');
  }

  /** @param {MouseEvent} event */
  pressed(event) {
    const button = /** @type {HTMLElement} */ (event.target).closest('button');
    if (!button) return;
    const { to, off } = button.dataset;
    if (to !== undefined) this.map.setColor(to);
    else {
      if (off !== undefined) this.set(off, null);
      else this.clear();
      this.map.root.focus({ preventScroll: true }); // the button under the focus is gone
    }
  }
}
