// @ts-check
// Cluster and label names on the map: where they stand, and which of them fit.

/** @typedef {{x: number, y: number, name: string, count: number}} Anchor world units */

const SAMPLE = 65536; // a prefix of the wire order is an even sample; medians need no more
const GAP = 4; // pixels between two names

/**
 * The coordinate-wise median of each legend entry's items, biggest first.
 * @param {import('./data.js').Column} column
 * @param {Uint16Array} xs
 * @param {Uint16Array} ys
 * @returns {Anchor[]}
 */
export function anchorsOf(column, xs, ys) {
  /** @type {number[][]} */
  const members = column.legend.map(() => []);
  for (let i = 0; i < Math.min(xs.length, SAMPLE); i++) {
    const code = column.code(i);
    if (code >= 0) members[code].push(i);
  }
  const middle = (/** @type {Uint16Array} */ values, /** @type {number[]} */ rows) =>
    Uint16Array.from(rows, (i) => values[i]).sort()[rows.length >> 1];
  return members
    .map((rows, code) => ({ rows, ...column.legend[code] }))
    .filter(({ rows }) => rows.length)
    .map(({ rows, name, count }) => ({ x: middle(xs, rows), y: middle(ys, rows), name, count }))
    .sort((a, b) => b.count - a.count);
}

/**
 * Write the names that fit, biggest entries first; none overlaps another.
 * @param {CanvasRenderingContext2D} pen
 * @param {Anchor[]} anchors
 * @param {import('./camera.js').Camera} camera
 * @param {{ink: string, paper: string, font: string}} look
 * @returns {number} how many were written
 */
export function writeNames(pen, anchors, camera, { ink, paper, font }) {
  /** @type {[number, number, number, number][]} */
  const taken = [];
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.lineJoin = 'round';
  pen.font = `700 14px ${font}`;
  for (const { x, y, name } of anchors) {
    const [sx, sy] = camera.toScreen(x, y);
    if (sx < 0 || sy < 0 || sx > camera.width || sy > camera.height) continue;
    const text = name.length > 28 ? `${name.slice(0, 27)}…` : name;
    const half = pen.measureText(text).width / 2 + GAP;
    const box = /** @type {[number, number, number, number]} */ ([sx - half, sy - 9, sx + half, sy + 9]);
    if (taken.some((b) => b[0] < box[2] && b[2] > box[0] && b[1] < box[3] && b[3] > box[1])) continue;
    taken.push(box);
    pen.strokeStyle = paper;
    pen.lineWidth = 4.5;
    pen.globalAlpha = 0.9;
    pen.strokeText(text, sx, sy);
    pen.globalAlpha = 1;
    pen.fillStyle = ink;
    pen.fillText(text, sx, sy);
  }
  return taken.length;
}
