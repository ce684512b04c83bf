// @ts-check
// What the curator did on each sheet and nobody was told yet: it outlives the sheet and the page.

/** @typedef {{key: string, version: string, ids: string[], cut: number, proposed: string | null, field: string}} Known */
/**
 * `cut` null: where the machine put it; else `before` are the items before it. `marks`: items that were tapped, and whether they are kept.
 * `labels`: what was typed, by field. `looked`: items that were in view long enough to be seen.
 * @typedef {{cut: number | null, before: string[], marks: Map<string, boolean>, labels: Record<string, string>,
 *   looked: Set<string>, asked: boolean}} Draft
 */
/** @typedef {{seq: number, op: string, value: string, field?: string, key: string, ids: string[], cut: number}} Unheard an act that no answer came to */

const HELD = 40; // sheets
const SETTLE = 250; // ms between two writings
// Of strays that were in view, so many are overlooked. Not measured on these sheets: Wolfe, Horowitz and
// Kenner (Nature 435, 2005) had people search luggage, who missed 16 % where one picture in ten held what
// was looked for and 30 % where one in a hundred did. At one in twenty, where the page begins to ask,
// that is 0.2 on a line over the logarithm. 1 would make looking worth nothing, 0 make it infallible.
const MISSED = 0.2;

/** @returns {Draft} */
export function freshDraft() {
  return { cut: null, before: [], marks: new Map(), labels: {}, looked: new Set(), asked: false };
}

/**
 * Move a cut that was drawn by hand to where it belongs among the items that a sheet has now; where
 * the order is another, to where the machine puts it.
 * @param {Known} sheet
 * @param {Draft} draft
 */
export function carryCut(sheet, draft) {
  if (draft.cut === null) return;
  const before = new Set(draft.before);
  const cut = sheet.ids.filter((id) => before.has(id)).length;
  draft.cut = sheet.ids.slice(0, cut).every((id) => before.has(id)) ? cut : null;
}

/** What a draft is kept by: another label or field is another question. @param {Known} sheet */
const nameOf = ({ field, proposed, key }) => `${field} ${key} ${proposed ?? ''}`;

/**
 * Which positions of a sheet are kept: those before the cut, turned over where somebody tapped.
 * @param {Known} sheet
 * @param {Draft} draft
 */
export function keptOf(sheet, draft) {
  const cut = draft.cut ?? sheet.cut;
  return sheet.ids.map((id, at) => draft.marks.get(id) ?? at < cut);
}

/**
 * How many strays are to be expected among what is kept, and between what bounds the share of the
 * others lies. The forecast is for the sheet as it came; each item's doubt shares it out, and what
 * was looked at and left standing is a stray less often.
 * @param {Known & {purity: {estimate: number, low: number, high: number} | null, doubt: number[]}} sheet
 * @param {Draft} draft
 * @returns {{strays: number, estimate: number, low: number, high: number} | null}
 */
export function forecastOf(sheet, draft) {
  const { purity, doubt, ids } = sheet;
  const whole = doubt.slice(0, sheet.cut).reduce((sum, one) => sum + one, 0);
  const kept = keptOf(sheet, draft);
  const count = kept.filter(Boolean).length;
  if (!purity || !whole || !count) return null;
  const straysAt = (/** @type {number} */ share) => {
    const scale = ((1 - share) * sheet.cut) / whole;
    let sum = 0;
    for (let at = 0; at < ids.length; at++) {
      if (!kept[at] || draft.marks.get(ids[at])) continue; // taken in by hand
      sum += Math.min(1, doubt[at] * scale) * (draft.looked.has(ids[at]) ? MISSED : 1);
    }
    return sum;
  };
  const strays = straysAt(purity.estimate);
  const shareAt = (/** @type {number} */ share) => 1 - straysAt(share) / count;
  return { strays, estimate: 1 - strays / count, low: shareAt(purity.low), high: shareAt(purity.high) };
}

/** The drafts of one page, kept in the tab's storage as well. */
export class Drafts {
  /** @param {string} key */
  constructor(key) {
    this.name = `curation-clean ${key}`;
    /** @type {Map<string, Draft>} */
    this.drafts = new Map();
    /** @type {Map<string, Draft>} what was answered, for an undo */
    this.spent = new Map();
    /** @type {Unheard[]} */
    this.unheard = [];
    /** @type {number | undefined} */
    this.timer = undefined;
    this.read();
  }

  /** @param {Known} sheet */
  of(sheet) {
    const name = nameOf(sheet);
    const draft = this.drafts.get(name) ?? freshDraft();
    this.drafts.delete(name);
    this.drafts.set(name, draft); // the last is the one asked for last
    return draft;
  }

  /** A sheet was answered: it comes anew, if it comes. @param {Known} sheet */
  spend(sheet) {
    this.retire(nameOf(sheet));
  }

  /** @param {string} name */
  retire(name) {
    const draft = this.drafts.get(name);
    if (!draft) return;
    this.drafts.delete(name);
    this.spent.delete(name);
    this.spent.set(name, draft);
    for (const old of [...this.spent.keys()].slice(0, -HELD)) this.spent.delete(old);
  }

  /** The answer was taken back: what was done on the sheet is there again. @param {Known} sheet */
  restore(sheet) {
    const name = nameOf(sheet);
    const spent = this.spent.get(name);
    const now = this.drafts.get(name);
    if (!spent || (now && (now.cut !== null || now.marks.size || Object.keys(now.labels).length))) return;
    this.spent.delete(name);
    this.drafts.set(name, { ...spent, asked: false });
  }

  /** The answer stands again: what an undo had brought back has served. @param {string} field @param {string} key */
  again(field, key) {
    for (const name of [...this.drafts.keys()].filter((one) => one.startsWith(`${field} ${key} `))) this.retire(name);
  }

  /** The tab's storage, or null: a sandboxed frame may not even look at it. */
  get box() {
    try {
      return globalThis.sessionStorage ?? null;
    } catch (error) {
      if (error instanceof DOMException) return null;
      throw error;
    }
  }

  read() {
    const text = this.box?.getItem(this.name);
    if (!text) return;
    try {
      const { drafts, unheard } = JSON.parse(text);
      for (const [key, { cut, before, marks, labels, looked, asked }] of drafts) {
        this.drafts.set(key, { cut: before ? cut : null, before: before ?? [], marks: new Map(marks), labels, looked: new Set(looked), asked });
      }
      this.unheard = unheard;
    } catch (error) {
      if (!(error instanceof SyntaxError || error instanceof TypeError)) throw error;
      this.box?.removeItem(this.name); // not ours, or of another version
    }
  }

  soon() {
    this.timer ??= setTimeout(() => this.write(), SETTLE);
  }

  write() {
    clearTimeout(this.timer);
    this.timer = undefined;
    const drafts = [...this.drafts].slice(-HELD).map(([key, { marks, looked, ...more }]) =>
      [key, { ...more, marks: [...marks], looked: [...looked] }]);
    try {
      this.box?.setItem(this.name, JSON.stringify({ drafts, unheard: this.unheard }));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // no room: it is still in this page
    }
  }
}
