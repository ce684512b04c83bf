// @ts-check
// A text field that completes from the labels there are.
import { made } from './sheet.js';

/** @typedef {{label: string, why?: string}} Offer */

const OFFERS = 8;

/** One label field; Return takes what is marked in the list, or what was typed. */
export class LabelField {
  /**
   * @param {string} title
   * @param {string} name of the field
   * @param {{typed: () => void, enter: () => void, leave: () => void}} does
   */
  constructor(title, name, does) {
    this.does = does;
    /** @type {Offer[]} */
    this.offers = [];
    this.marked = -1;
    this.input = /** @type {HTMLInputElement} */ (made('input', {
      type: 'text', role: 'combobox', 'aria-label': title, 'aria-autocomplete': 'list', 'aria-expanded': 'false',
      'aria-controls': `offers-${name}`, autocomplete: 'off', autocapitalize: 'off', spellcheck: 'false', maxlength: '200', enterkeyhint: 'done',
    }));
    this.badge = made('span', { class: 'proposed', hidden: '' }, 'proposed');
    this.list = made('div', { class: 'offers', role: 'listbox', id: `offers-${name}`, 'aria-label': `Labels for ${title}`, hidden: '' });
    this.root = made('div', { class: 'field', 'data-field': name }, this.input, this.badge, this.list);
    this.input.addEventListener('input', () => this.typed());
    this.input.addEventListener('focus', () => this.input.select());
    this.input.addEventListener('blur', () => this.close());
    this.input.addEventListener('keydown', (event) => this.key(event));
    // The click would come after the field lost its focus and the list with it.
    this.list.addEventListener('pointerdown', (event) => this.pointed(event));
  }

  get value() {
    return this.input.value.trim();
  }

  /**
   * @param {string} value
   * @param {boolean} proposed by the machine, and not accepted yet
   */
  set(value, proposed) {
    if (this.input.value !== value) this.input.value = value;
    this.root.classList.toggle('machine', proposed && Boolean(value));
    this.badge.toggleAttribute('hidden', !(proposed && value));
  }

  /** @param {Offer[]} offers the best first */
  offer(offers) {
    this.offers = offers;
    if (!this.list.hidden) this.open();
  }

  typed() {
    this.set(this.input.value, false);
    this.open();
    this.does.typed();
  }

  /** What begins so, then what has it inside; everything while nothing is typed. */
  get fitting() {
    const wanted = this.value.toLocaleLowerCase();
    const place = (/** @type {Offer} */ one) => one.label.toLocaleLowerCase().indexOf(wanted);
    const found = this.offers.filter((one) => place(one) >= 0);
    return [...found.filter((one) => place(one) === 0), ...found.filter((one) => place(one) > 0)].slice(0, OFFERS);
  }

  open() {
    this.marked = -1;
    const rows = this.fitting.map(({ label, why }, at) => {
      const row = made('div', { role: 'option', id: `${this.list.id}-${at}`, 'aria-selected': 'false', 'data-label': label }, made('span', {}, label));
      if (why) row.append(made('small', {}, why));
      return row;
    });
    this.list.replaceChildren(...rows);
    this.list.hidden = !rows.length;
    this.input.setAttribute('aria-expanded', String(Boolean(rows.length)));
    this.input.removeAttribute('aria-activedescendant');
  }

  close() {
    this.list.hidden = true;
    this.marked = -1;
    this.input.setAttribute('aria-expanded', 'false');
    this.input.removeAttribute('aria-activedescendant');
  }

  /** @param {number} step */
  mark(step) {
    if (this.list.hidden) this.open();
    const rows = [...this.list.children];
    if (!rows.length) return;
    this.marked = (this.marked + step + rows.length + (this.marked < 0 && step < 0 ? 1 : 0)) % rows.length;
    rows.forEach((row, at) => row.setAttribute('aria-selected', String(at === this.marked)));
    rows[this.marked].scrollIntoView({ block: 'nearest' });
    this.input.setAttribute('aria-activedescendant', rows[this.marked].id);
  }

  /** @param {string} label */
  take(label) {
    this.set(label, false);
    this.close();
    this.does.typed();
  }

  /** @param {PointerEvent} event */
  pointed(event) {
    event.preventDefault();
    const row = /** @type {HTMLElement} */ (event.target).closest('[data-label]');
    if (row) this.take(row.getAttribute('data-label') ?? '');
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    event.stopPropagation();
    if (event.isComposing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === 'ArrowDown' || event.key === 'ArrowUp') this.mark(event.key === 'ArrowDown' ? 1 : -1);
    else if (event.key === 'Enter') {
      if (event.repeat) return;
      const row = this.list.children[this.marked];
      if (row) this.take(row.getAttribute('data-label') ?? '');
      this.close();
      this.does.enter();
    } else if (event.key === 'Escape') {
      this.close();
      this.does.leave();
    } else return;
    event.preventDefault();
  }
}
