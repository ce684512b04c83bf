// @ts-check
// Who else cleans which cluster now: a mark beside its name on the map, and in its row of the legend.
import { face } from './avatars.js';
import { element } from './chrome.js';

/** @typedef {Map<string, string[]>} Holders persons by the name of a cluster's legend entry; noise is "-1" */

const MOST_FACES = 3; // persons shown at one cluster; the rest are counted
const ACROSS = 20; // pixels of one of them
const ASIDE = 3; // pixels between a name and its mark
const LANGUAGE = new Intl.ListFormat('en');

/** In words. @param {string[]} persons */
export function cleanedBy(persons) {
  return `being cleaned by ${LANGUAGE.format(persons)}`;
}

/** @param {string[]} persons @returns {HTMLElement} */
export function markOf(persons) {
  const faces = persons.slice(0, MOST_FACES).map(face);
  if (persons.length > MOST_FACES) faces.push(element('i', {}, `+${persons.length - MOST_FACES}`));
  return element('span', { class: 'holders' }, ...faces);
}

/** Pixels that a mark takes beside a name. @param {string[] | undefined} persons */
export function roomFor(persons) {
  return persons ? ASIDE + Math.min(persons.length, MOST_FACES + 1) * ACROSS : 0;
}

/** The marks beside the names of one map. */
export class Held {
  /** @param {import('./map.js').CurationMap} map */
  constructor(map) {
    this.map = map;
    /** @type {Holders} */
    this.holders = new Map();
    this.told = '{}';
    this.root = element('div', { class: 'held', role: 'group', 'aria-label': 'Being cleaned now' });
    /** @type {Map<string, HTMLElement>} the marks that stand, by cluster */
    this.marks = new Map();
  }

  /**
   * Show that these clusters are held by these persons, and no others; the points stay as drawn.
   * @param {Record<string, string[]>} held
   */
  hold(held) {
    const told = JSON.stringify(held);
    if (told === this.told) return;
    this.told = told;
    this.holders = new Map(Object.entries(held));
    this.marks.clear();
    this.root.replaceChildren();
    this.map.legend.markHeld();
    this.map.touch(true);
  }

  /** Who holds what a name on the map stands for. @param {string} name @returns {string[] | undefined} */
  of(name) {
    return this.map.namesClusters ? this.holders.get(name) : undefined;
  }

  /** Put the marks beside the names that stand. */
  place() {
    const { ends } = this.map.lettering;
    for (const [name, mark] of this.marks) {
      if (ends.has(name) && this.of(name)) continue;
      mark.remove();
      this.marks.delete(name);
    }
    this.root.hidden = !this.holders.size;
    for (const [name, { x, y }] of ends) {
      const persons = this.of(name);
      if (!persons) continue;
      const mark = this.marks.get(name) ?? this.added(name, persons);
      mark.style.transform = `translate(${(x + ASIDE).toFixed(1)}px, ${y.toFixed(1)}px) translateY(-50%)`;
    }
  }

  /** @param {string} name @param {string[]} persons */
  added(name, persons) {
    const mark = markOf(persons);
    mark.setAttribute('role', 'img');
    mark.setAttribute('aria-label', `Cluster ${name}, ${cleanedBy(persons)}`);
    mark.dataset.cluster = name;
    this.marks.set(name, mark);
    this.root.append(mark);
    return mark;
  }
}
