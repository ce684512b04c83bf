// @ts-check
// Cluster and label names on the map: where they stand, and which of them fit.

/**
 * @typedef {{x: number, y: number, name: string, count: number, spread?: number}} Anchor world units;
 *   `spread` is how far half of the items lie from the middle
 */
/** @typedef {[number, number, number, number]} Box pixels: left, top, right, bottom */
/** @typedef {{ink: string, paper: string, font: string}} Ink */
/** @typedef {{anchor: Anchor, alpha: number, stands: boolean, since: number, from: number}} Written a name,
 *   how far it has appeared, and since when, from where, it comes or goes */

const SAMPLE = 65536; // a prefix of the wire order is an even sample; medians need no more
const GAP = 5; // pixels between two names
const SMALL = 12; // pixels of the letters of the smallest entry
const LARGE = 17; // of the largest
const ROOM = 15; // pixels across from which the items of an entry are worth a name
const LOYAL = 0.75; // of that, for a name that stands already
const WEIGHT = 3; // a name that stands gives way only to one of so many times its items
const FIRST_OF_ALL = 1e12; // items that no entry has: it comes before all others
const AT_ONCE = 70; // names at a time
const MEASURED = 60; // new names measured in one frame
const LONGEST = 28; // letters
const FADE = 120; // ms

/**
 * The coordinate-wise median of each legend entry's items, biggest first.
 * @param {import('./data.js').Column} column
 * @param {Uint16Array} xs
 * @param {Uint16Array} ys
 * @param {Uint8Array | null} [hidden] 1 = does not count
 * @returns {Anchor[]}
 */
export function anchorsOf(column, xs, ys, hidden = null) {
  /** @type {number[][]} */
  const members = column.legend.map(() => []);
  for (let i = 0, seen = 0; i < xs.length && seen < SAMPLE; i++) {
    if (hidden?.[i]) continue;
    seen++;
    const code = column.code(i);
    if (code >= 0) members[code].push(i);
  }
  /** @type {Anchor[]} */
  const anchors = [];
  members.forEach((rows, code) => {
    if (!rows.length) return;
    const [x, y] = [xs, ys].map((values) => Uint16Array.from(rows, (i) => values[i]).sort()[rows.length >> 1]);
    const away = Float32Array.from(rows, (i) => Math.hypot(xs[i] - x, ys[i] - y)).sort();
    const { name, count } = column.legend[code];
    anchors.push({ x, y, name, count, spread: away[rows.length >> 1] });
  });
  return anchors.sort((a, b) => b.count - a.count);
}

/** @param {Box} a @param {Box} b */
const meet = (a, b) => b[0] < a[2] && b[2] > a[0] && b[1] < a[3] && b[3] > a[1];

/** Writes the names that fit; one that stands keeps its place while it does. */
export class Lettering {
  constructor() {
    /** @type {Map<string, Written>} */
    this.written = new Map();
    /** @type {Map<string, number>} widths of names in letters of one pixel, for one font */
    this.widths = new Map();
    this.font = '';
    this.measured = 0;
    /** @type {Map<string, {x: number, y: number}>} where the letters of each name that stands end, in pixels */
    this.ends = new Map();
    /** Whether another frame is needed: something fades, or was not measured yet. */
    this.unfinished = false;
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {Anchor[]} anchors biggest first
   * @param {import('./camera.js').Camera} camera
   * @param {Ink} ink
   * @param {{obstacles?: Box[], now?: number, still?: boolean, besides?: (name: string) => number}} [more]
   *   areas to leave free, the time in ms, whether nothing may fade, and the pixels that each name
   *   needs for what stands beside it
   * @returns {number} how many stand
   */
  write(pen, anchors, camera, ink, { obstacles = [], now = 0, still = true, besides = () => 0 } = {}) {
    if (ink.font !== this.font) this.widths.clear();
    this.font = ink.font;
    this.measured = 0;
    this.unfinished = false;
    const standing = this.fit(pen, anchors, camera, obstacles, besides);
    this.fade(standing, now, still ? 0 : FADE);
    pen.textAlign = 'center';
    pen.textBaseline = 'middle';
    pen.lineJoin = 'round';
    for (const one of this.written.values()) this.letter(pen, one, camera, ink);
    pen.globalAlpha = 1;
    return standing.size;
  }

  /** @param {Anchor} anchor pixels of its letters, by its part of the largest count */
  size({ count }) {
    return SMALL + (LARGE - SMALL) * Math.sqrt(count / Math.max(1, this.largest ?? count));
  }

  /** @param {string} name */
  short(name) {
    return name.length > LONGEST ? `${name.slice(0, LONGEST - 1)}…` : name;
  }

  /**
   * The entries that have room on the screen: what has something beside it first, then those that
   * stand already and the biggest.
   * @param {Anchor[]} anchors
   * @param {import('./camera.js').Camera} camera
   * @param {(name: string) => number} besides
   */
  wanted(anchors, camera, besides) {
    this.largest = anchors[0]?.count ?? 1;
    const found = [];
    for (const anchor of anchors) {
      const [x, y] = camera.toScreen(anchor.x, anchor.y);
      if (x < 0 || y < 0 || x > camera.width || y > camera.height) continue;
      const stands = this.written.get(anchor.name)?.stands ?? false;
      const { spread = Infinity } = anchor;
      const beside = besides(anchor.name);
      if (!beside && 2 * spread * camera.scale < ROOM * (stands ? LOYAL : 1)) continue;
      found.push({ anchor, x, y, beside, rank: (beside ? FIRST_OF_ALL : 0) + anchor.count * (stands ? WEIGHT : 1) });
    }
    return found.sort((a, b) => b.rank - a.rank);
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {Anchor[]} anchors
   * @param {import('./camera.js').Camera} camera
   * @param {Box[]} obstacles
   * @param {(name: string) => number} besides
   * @returns {Map<string, Anchor>} the names that stand
   */
  fit(pen, anchors, camera, obstacles, besides) {
    const taken = [...obstacles];
    /** @type {Map<string, Anchor>} */
    const standing = new Map();
    /** @type {Box[]} */
    this.boxes = [];
    this.ends.clear();
    for (const { anchor, x, y, beside } of this.wanted(anchors, camera, besides)) {
      if (standing.size >= AT_ONCE) break;
      const width = this.width(pen, this.short(anchor.name));
      if (width === null) continue;
      const size = this.size(anchor);
      const [half, high] = [(width * size) / 2 + GAP, size * 0.62 + GAP / 2];
      const box = /** @type {Box} */ ([x - half, y - high, x + half + beside, y + high]);
      if (taken.some((other) => meet(other, box))) continue;
      taken.push(box);
      this.boxes.push(box);
      standing.set(anchor.name, anchor);
      this.ends.set(anchor.name, { x: x + half - GAP, y });
    }
    return standing;
  }

  /**
   * The width of a name in letters of one pixel, or null where enough was measured in this frame.
   * @param {CanvasRenderingContext2D} pen
   * @param {string} text
   */
  width(pen, text) {
    const known = this.widths.get(text);
    if (known !== undefined) return known;
    if (this.measured >= MEASURED) {
      this.unfinished = true;
      return null;
    }
    this.measured++;
    pen.font = `700 20px ${this.font}`;
    const width = pen.measureText(text).width / 20;
    this.widths.set(text, width);
    return width;
  }

  /**
   * Let names appear and disappear.
   * @param {Map<string, Anchor>} standing
   * @param {number} now ms
   * @param {number} lasts ms
   */
  fade(standing, now, lasts) {
    for (const [name, anchor] of standing) {
      const one = this.written.get(name);
      if (one) one.anchor = anchor;
      else this.written.set(name, { anchor, alpha: 0, stands: true, since: now, from: 0 });
    }
    for (const [name, one] of this.written) {
      const stands = standing.has(name);
      if (stands !== one.stands) Object.assign(one, { stands, since: now, from: one.alpha });
      const part = lasts ? (now - one.since) / lasts : 1;
      one.alpha = Math.max(0, Math.min(1, one.from + (stands ? part : -part)));
      if (!one.alpha && !one.stands) this.written.delete(name);
      else if (one.alpha < 1 || !one.stands) this.unfinished = true;
    }
  }

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {Written} one
   * @param {import('./camera.js').Camera} camera
   * @param {Ink} ink
   */
  letter(pen, { anchor, alpha }, camera, { ink, paper, font }) {
    const [x, y] = camera.toScreen(anchor.x, anchor.y);
    const text = this.short(anchor.name);
    pen.font = `700 ${this.size(anchor).toFixed(1)}px ${font}`;
    pen.strokeStyle = paper;
    // Two rims of paper, the wider one thin: a soft halo that reads on points and on pictures.
    for (const [wide, strength] of [[7, 0.45], [3.5, 0.85]]) {
      pen.lineWidth = wide;
      pen.globalAlpha = strength * alpha;
      pen.strokeText(text, x, y);
    }
    pen.globalAlpha = alpha;
    pen.fillStyle = ink;
    pen.fillText(text, x, y);
  }
}
