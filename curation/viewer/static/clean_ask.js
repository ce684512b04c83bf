// @ts-check
// A question in the page's own flow: Return is its first answer, a number any, Escape none.
import { made } from './sheet.js';

/** @typedef {{words: string, does: (text: string) => void}} Choice */

/** One question at a time; what it is about stays in view. */
export class Question {
  /** @param {() => void} closed gives the keys back to the tiles */
  constructor(closed) {
    this.closed = closed;
    this.own = false; // about the sheet as it stands, and not an act that was told
    this.words = made('p', {});
    this.text = /** @type {HTMLInputElement} */ (made('input', { type: 'text', maxlength: '200', autocomplete: 'off' }));
    this.row = made('div', { class: 'choices' });
    this.root = made('div', { class: 'question', role: 'alertdialog', 'aria-label': 'Question', hidden: '' }, this.words, this.text, this.row);
    this.text.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.key === 'Enter' && !event.repeat) this.choose(0);
      else if (event.key === 'Escape') this.cancel();
      else return;
      event.preventDefault();
    });
    /** @type {Choice[]} */
    this.choices = [];
  }

  get open() {
    return !this.root.hidden;
  }

  /**
   * @param {string} words
   * @param {Choice[]} choices the first is what Return does
   * @param {string} [field] the name of a text field, where one may type
   */
  ask(words, choices, field = '') {
    this.choices = choices;
    this.own = false;
    this.words.textContent = words;
    this.text.hidden = !field;
    this.text.value = '';
    this.text.setAttribute('aria-label', field);
    this.text.placeholder = field;
    const buttons = choices.map(({ words: label }, at) => {
      const cap = at === 0 ? '⏎' : String(at + 1);
      const button = made('button', { type: 'button', class: at === 0 ? 'main' : '' }, label, made('kbd', { 'aria-hidden': 'true' }, cap));
      button.addEventListener('click', () => this.choose(at));
      return button;
    });
    const away = made('button', { type: 'button' }, 'Look again', made('kbd', { 'aria-hidden': 'true' }, 'Esc'));
    away.addEventListener('click', () => this.cancel());
    this.row.replaceChildren(...buttons, away);
    this.root.hidden = false;
    this.asked = performance.now();
  }

  /** @param {number} at */
  choose(at) {
    const choice = this.choices[at];
    if (!choice) return;
    const text = this.text.value.trim();
    this.close();
    choice.does(text);
  }

  cancel() {
    this.close();
    this.closed();
  }

  close() {
    this.root.hidden = true;
    this.choices = [];
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key was for the question */
  key(event) {
    if (!this.open || event.ctrlKey || event.metaKey) return false;
    if (event.key === 'Escape') this.cancel();
    else if (event.key === 'Enter') this.choose(0);
    else if (/^[1-9]$/.test(event.key)) this.choose(Number(event.key) - 1);
    else if (!this.text.hidden && event.key.length === 1 && event.key !== ' ') {
      this.text.value += event.key;
      this.text.focus();
    } else return false;
    return true;
  }
}
