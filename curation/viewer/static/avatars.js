// @ts-check
// Who else looks at the dataset: initials in a colour of their own, and where they are.

/** @typedef {{person: string, page: string, place: string, you: boolean}} Other */

const FACES_SHOWN = 5; // people; the rest are counted

/**
 * Draw who is here, where that is not what stands already.
 * @param {HTMLElement | ShadowRoot} root @param {Other[]} others
 * @param {string | null} trouble why nobody can be told, if so
 */
export function drawPeople(root, others, trouble) {
  const text = JSON.stringify([others, trouble]);
  let row = /** @type {HTMLElement | null} */ (root.querySelector('.atlas-people'));
  if (row?.dataset.told === text) return;
  if (!row) {
    row = document.createElement('div');
    row.className = 'atlas-people';
    row.setAttribute('role', 'group');
    row.setAttribute('aria-label', 'Also here');
    root.append(row);
  }
  row.dataset.told = text;
  const people = byPerson(others);
  const marks = people.slice(0, FACES_SHOWN).map(avatar);
  if (people.length > FACES_SHOWN) marks.push(mark(`+${people.length - FACES_SHOWN}`, people.slice(FACES_SHOWN).map(wordsOf).join('\n')));
  if (trouble) marks.push(mark('?', trouble));
  row.replaceChildren(...marks);
}

/** One entry for each person: who has two tabs open is two of the others. @param {Other[]} others */
function byPerson(others) {
  /** @type {Map<string, Other[]>} */
  const found = new Map();
  for (const one of others) found.set(one.person, [...(found.get(one.person) ?? []), one]);
  return [...found.values()];
}

/** @param {Other[]} tabs */
function wordsOf(tabs) {
  const places = tabs.map(({ page, place }) => (place ? `${page}, ${place}` : page));
  return `${tabs[0].you ? 'you, elsewhere' : tabs[0].person}: ${places.join('; ')}`;
}

/** @param {Other[]} tabs */
function avatar(tabs) {
  const { person } = tabs[0];
  const found = mark(initials(person), wordsOf(tabs));
  found.style.background = colorOf(person);
  found.dataset.person = person;
  return found;
}

/** Initials in the person's colour, for where the words stand beside them. @param {string} person */
export function face(person) {
  const found = document.createElement('i');
  found.textContent = initials(person);
  found.style.background = colorOf(person);
  return found;
}

/** @param {string} text @param {string} words */
function mark(text, words) {
  const found = document.createElement('span');
  found.textContent = text;
  found.title = words;
  found.setAttribute('role', 'img');
  found.setAttribute('aria-label', words);
  return found;
}

/** Two letters of a name or of an e-mail address. @param {string} person */
function initials(person) {
  const parts = person.split('@')[0].split(/[\s._-]+/u).filter(Boolean);
  const letters = parts.length > 1 ? [parts[0], parts[parts.length - 1]].map(first).join('') : [...(parts[0] ?? '?')].slice(0, 2).join('');
  return letters.toUpperCase();
}

/** @param {string} word */
function first(word) {
  return [...word][0];
}

/** The same for one name everywhere. @param {string} person */
function colorOf(person) {
  let hash = 0;
  for (const letter of person) hash = (hash * 31 + (letter.codePointAt(0) ?? 0)) % 100_003;
  return `hsl(${hash % 360} 45% 30%)`; // dark enough for white letters, any hue
}
