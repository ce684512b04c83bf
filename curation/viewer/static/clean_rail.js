// @ts-check
// Beside the sheet: what comes next, and how far the work is.
import { made } from './sheet.js';

/** @typedef {{key: string, title: string, count: number, cut: number, proposed: string | null, ids: string[]}} Card */
/** @typedef {{items: number, labelled: number, excluded: number, open: number, pace: number | null, left: number | null}} Progress */

const ORDERS = /** @type {Record<string, string>} */ ({
  gain: 'Most gain first', uncertain: 'Most uncertain', diverse: 'Most diverse', representative: 'Representative', random: 'Random',
});
const SHOWN = 4; // thumbnails of a card
const number = (/** @type {number} */ value) => Math.round(value).toLocaleString('en-US');

/** How long it takes, in words that do not pretend to know more. @param {number} minutes */
export function minutesInWords(minutes) {
  if (minutes < 1.5) return 'about a minute to go';
  if (minutes < 90) return `about ${number(minutes)} minutes to go`;
  return `about ${number(minutes / 60)} hours to go`;
}

/** The queue as small cards, one click each. */
export class Rail {
  /** @param {{mode: (mode: string) => void, show: (key: string) => void, spread: () => void, review: () => void}} does */
  constructor(does) {
    this.mode = /** @type {HTMLSelectElement} */ (made('select', { 'aria-label': 'Order of the queue' }));
    this.mode.addEventListener('change', () => does.mode(this.mode.value));
    this.cards = made('div', { class: 'cards', role: 'group', 'aria-label': 'Coming sheets' });
    this.cards.addEventListener('click', (event) => {
      const card = /** @type {HTMLElement} */ (event.target).closest('[data-key]');
      if (card) does.show(card.getAttribute('data-key') ?? '');
    });
    const spread = made('button', { type: 'button', title: 'Let labels spread to what is most alike, as sheets to confirm' }, 'Spread labels');
    spread.addEventListener('click', () => does.spread());
    const review = made('button', { type: 'button', title: 'Sheets of labelled items that look like something else' }, 'Doubtful labels');
    review.addEventListener('click', () => does.review());
    this.root = made('aside', { class: 'rail', 'aria-label': 'Queue' }, made('div', { class: 'top' }, made('h3', {}, 'Next'), this.mode), this.cards, made('div', { class: 'foot' }, spread, review));
    this.told = '';
  }

  /**
   * @param {Card[]} cards
   * @param {string[]} modes
   * @param {string} mode
   * @param {string} url of a thumbnail
   */
  update(cards, modes, mode, url) {
    if (this.mode.options.length !== modes.length) {
      this.mode.replaceChildren(...modes.map((one) => made('option', { value: one }, ORDERS[one] ?? one)));
    }
    this.mode.value = mode;
    const told = cards.map(({ key, count }) => `${key} ${count}`).join();
    if (told === this.told) return; // a card that is drawn anew is lost to the pointer on it
    this.told = told;
    this.cards.replaceChildren(...cards.map((card) => this.card(card, url)));
  }

  /** @param {Card} card @param {string} url */
  card({ key, title, proposed, count, ids }, url) {
    const pictures = ids.slice(0, SHOWN).map((id) => made('img', { alt: '', src: url.replace('{id}', encodeURIComponent(id)), loading: 'lazy', draggable: 'false' }));
    const name = made('b', proposed ? { class: 'proposed' } : {}, proposed ?? title);
    const facts = made('small', {}, `${number(count)} ${count === 1 ? 'item' : 'items'}`);
    const words = `${proposed ? `${proposed}, proposed` : title}, ${number(count)} items: show now`;
    return made('button', { type: 'button', class: 'card', 'data-key': key, 'aria-label': words }, made('span', { class: 'strip' }, ...pictures), made('span', { class: 'facts' }, name, facts));
  }
}

/** A bar of what is labelled, the pace, and the time that is left. */
export class ProgressBar {
  constructor() {
    this.done = made('span', { class: 'done' });
    this.away = made('span', { class: 'away' });
    this.bar = made('div', { class: 'track', role: 'progressbar', 'aria-label': 'Labelled', 'aria-valuemin': '0' }, this.done, this.away);
    this.words = made('span', { class: 'words' });
    this.root = made('div', { class: 'progress' }, this.bar, this.words);
  }

  /** @param {Progress} progress */
  update({ items, labelled, excluded, pace, left }) {
    const share = (/** @type {number} */ count) => `${items ? (100 * count) / items : 0}%`;
    this.done.style.width = share(labelled);
    this.away.style.width = share(excluded);
    this.bar.setAttribute('aria-valuemax', String(items));
    this.bar.setAttribute('aria-valuenow', String(labelled));
    const parts = [`${number(labelled)} of ${number(items)} labelled`];
    if (excluded) parts.push(`${number(excluded)} excluded`);
    if (pace && pace > 0) parts.push(`${number(pace)} a minute`);
    if (left && left > 0) parts.push(minutesInWords(left));
    this.words.textContent = parts.join(' · ');
  }
}
