// @ts-check
// Other people and their decisions and atlases: once a second tells the server where this page is
// and asks for the newest, draws who else is here, tells the map, which shows it at once, and lets
// the script run again when something is newer than what the page shows.
//
// Not by server-sent events: a browser opens six connections to a host, every tab would hold one
// for as long as it lives, and the seventh tab would load nothing at all.

import { drawPeople } from './avatars.js';
import { tellNews } from './news.js';
import { scriptRuns } from './script.js';

/**
 * What is newest: the journal and its newest decision, the newest atlas, the state of the tables.
 * @typedef {{journal: string, seq: number, version: string | null, tables: string}} Head
 * @typedef {Head & {others: import('./avatars.js').Other[], trouble: string | null,
 *   held: Record<string, string[]>}} Answer
 * @typedef {{session: string, page: string, place: string, version: string}} Sign where this page is,
 *   and the atlas that it shows
 */
/** @typedef {{url: string, known: Head, here: Sign}} Known where to ask, what the script knew when it ran */
/**
 * @typedef {{parentElement: HTMLElement | ShadowRoot, data: Known,
 *   setTriggerValue: (name: string, value: unknown) => void}} LiveArguments
 */

const EVERY = 1000; // milliseconds from a question to the next
const LEAST = 400; // of them after the answer: a busy server is not asked at once
const SETTLE = 250; // the script may be about to say so itself: the decision was made in this tab
const DOWN = 5000; // between two questions to a server that does not answer
const PATIENCE = 10_000; // for one answer

/** @type {WeakMap<object, Live>} */
const lives = new WeakMap();

/** Streamlit calls this on mount and whenever the script ran, what it returns at unmount only. */
export default function follow(/** @type {LiveArguments} */ { parentElement, data, setTriggerValue }) {
  const live = lives.get(parentElement) ?? new Live(parentElement);
  lives.set(parentElement, live);
  live.update(data, (head) => setTriggerValue('news', head));
  return () => {
    live.destroy();
    lives.delete(parentElement);
  };
}

/** Asks as long as the page is looked at. */
class Live {
  constructor(/** @type {HTMLElement | ShadowRoot} */ root) {
    this.root = root;
    /** @type {Known | undefined} */
    this.known = undefined;
    this.told = ''; // the news that the script was woken for
    this.pressed = false; // a new drawing could move a button away from under the pointer
    /** @type {number | undefined} */
    this.timer = undefined;
    this.away = new AbortController();
    const on = { capture: true, signal: this.away.signal };
    document.addEventListener('visibilitychange', () => this.next(0), on);
    // what this page had claimed is free at once, and not only when the lease ends
    globalThis.addEventListener('pagehide', () => this.leave(), on);
    document.addEventListener('pointerdown', () => { this.pressed = true; }, on);
    for (const end of ['pointerup', 'pointercancel', 'dragend']) {
      document.addEventListener(end, () => { this.pressed = false; }, on);
    }
    this.next(EVERY);
  }

  /** @param {Known} known @param {(head: Head) => void} tell */
  update(known, tell) {
    // Told again only to a script that has learned something since: one that cannot would run for ever.
    if (textOf(known.known) !== textOf(this.known?.known)) this.told = '';
    const moved = placeOf(known) !== placeOf(this.known);
    this.known = known;
    this.tell = tell;
    if (moved) this.next(0);
  }

  leave() {
    const { url, here } = this.known ?? {};
    if (url) navigator.sendBeacon(url, JSON.stringify({ ...here, gone: 'yes' }));
  }

  destroy() {
    this.away.abort();
    clearTimeout(this.timer);
  }

  /** Ask after so many milliseconds, unless nobody is looking. */
  next(/** @type {number} */ wait) {
    clearTimeout(this.timer);
    if (document.visibilityState === 'hidden' || this.away.signal.aborted) return;
    this.timer = setTimeout(() => this.look(), wait);
  }

  async look() {
    const begun = performance.now();
    const known = this.known;
    const head = await this.ask();
    if (this.away.signal.aborted) return;
    if (head) drawPeople(this.root, head.others, head.trouble);
    if (head && known && !this.pressed) tellNews({ ...head, url: known.url, shown: known.here.version });
    if (head && this.isNews(head)) {
      await new Promise((resolve) => setTimeout(resolve, SETTLE));
      // News would end what the script is doing, perhaps for the curator: they are asked for again.
      if (this.isNews(head) && !this.pressed && !scriptRuns()) {
        this.told = textOf(head);
        this.tell?.(head);
      }
    }
    this.next(head ? Math.max(LEAST, EVERY - (performance.now() - begun)) : DOWN);
  }

  /** @returns {Promise<Answer | null>} null when the server does not answer */
  async ask() {
    try {
      const signal = AbortSignal.timeout(PATIENCE);
      const body = JSON.stringify(this.known?.here);
      const answer = await fetch(this.known?.url ?? '', { method: 'POST', body, signal, credentials: 'same-origin' });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null; // no network, no server, no patience: asked again later
    }
  }

  /** @param {Head} head */
  isNews(head) {
    const { known } = this;
    if (!known || this.away.signal.aborted || this.told === textOf(head)) return false;
    return textOf(head) !== textOf(known.known);
  }
}

/** @param {Head | undefined} head */
function textOf(head) {
  return head ? [head.journal, head.seq, head.version, head.tables].join(' ') : '';
}

/** @param {Known | undefined} known */
function placeOf(known) {
  return known ? [known.url, ...Object.values(known.here)].join('\n') : '';
}
