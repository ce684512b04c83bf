// @ts-check
// The keys of the Clean page: one table for what they do, and the sheet that lists them.
import { made } from './sheet.js';

/** Key, name of the act, words, group. @type {[string, string, string, string][]} */
export const KEYS = [
  ['Enter', 'confirm', 'Confirm what is before the cut, less the crossed out', 'Answers'],
  ['Delete', 'refuse', 'None of it is that: all back to the pool', 'Answers'],
  ['Backspace', 'refuse', '', ''],
  ['u', 'unsure', 'Not sure: mark the tapped, or the sheet, as unclear', 'Answers'],
  ['x', 'exclude', 'Exclude the tapped, or the sheet, with a reason', 'Answers'],
  ['n', 'skip', 'Next sheet, decide nothing', 'Answers'],
  ['p', 'back', 'The sheet before', 'Answers'],
  ['l', 'name', 'To the label field; Escape comes back', 'Name'],
  ['/', 'name', '', ''],
  ['i', 'instance', 'To the other field', 'Name'],
  ['a', 'accept', 'Take the first suggested name', 'Name'],
  [' ', 'tap', 'Cross the item out, or take it in; with Shift all since the last', 'Strays'],
  ['[', 'cut-', 'Move the cut up', 'Strays'],
  [',', 'cut-', '', ''],
  [']', 'cut+', 'Move the cut down', 'Strays'],
  ['.', 'cut+', '', ''],
  ['{', 'cut0', 'The cut to the start', 'Strays'],
  ['}', 'cut1', 'The cut to the end', 'Strays'],
  ['<', 'cut0', '', ''], // Shift and , or . : on an English keyboard, on most others
  ['>', 'cut1', '', ''],
  [';', 'cut0', '', ''],
  [':', 'cut1', '', ''],
  ['c', 'cut', 'The cut before the item in focus', 'Strays'],
  ['r', 'again', 'All taps and the cut as they came', 'Strays'],
  ['s', 'split', 'Split the sheet into its parts', 'Sheets'],
  ['t', 'twins', 'The clusters most alike come next', 'Sheets'],
  ['m', 'merge', 'Put this sheet and the next together', 'Sheets'],
  ['g', 'like', 'More like the tapped, or the item in focus', 'Sheets'],
  ['+', 'larger', 'Larger thumbnails', 'Look'],
  ['=', 'larger', '', ''],
  ['-', 'smaller', 'Smaller thumbnails', 'Look'],
  ['z', 'look', 'A larger look at the item in focus', 'Look'],
  ['?', 'keys', 'This sheet', 'Look'],
];

/** What has no row of its own above. @type {Record<string, [string, string][]>} */
const MORE = {
  Name: [['1 … 9', 'The last labels']],
  Strays: [['← ↑ ↓ →', 'Move the focus']],
  Answers: [['Ctrl Z', 'Undo; the sheet comes back as it was'], ['Ctrl Shift Z', 'Redo']],
};
const CAPS = /** @type {Record<string, string>} */ ({ Enter: '⏎', Delete: '⌫', ' ': 'Space' });

/** How a key is written on a button. @param {string} key */
export function capOf(key) {
  return CAPS[key] ?? key.toUpperCase();
}

/** The dialog that lists every key; it goes with Escape. */
export class CleanKeys {
  constructor() {
    const close = made('button', { type: 'button' }, 'Close');
    const lists = ['Answers', 'Name', 'Strays', 'Sheets', 'Look'].map((group) => this.group(group));
    const head = made('header', {}, made('h2', {}, 'Keys of the Clean page'), close);
    this.root = /** @type {HTMLDialogElement} */ (
      made('dialog', { class: 'keys', 'aria-label': 'Keys of the Clean page' }, head, made('div', { class: 'lists' }, ...lists))
    );
    close.addEventListener('click', () => this.root.close());
    this.root.addEventListener('click', (event) => event.target === this.root && this.root.close());
    this.root.addEventListener('keydown', (event) => {
      event.stopPropagation();
      if (event.key === '?') this.root.close();
    });
  }

  /** @param {string} group */
  group(group) {
    const list = made('dl', {});
    const own = /** @type {[string, string][]} */ (KEYS.filter(([, , , of]) => of === group).map(([key, , words]) => [capOf(key), words]));
    for (const [keys, words] of [...own, ...(MORE[group] ?? [])]) {
      list.append(made('div', {}, made('dt', {}, ...keys.split(' ').map((key) => made('kbd', {}, key))), made('dd', {}, words)));
    }
    return made('section', {}, made('h3', {}, group), list);
  }

  show() {
    this.root.showModal();
  }
}
