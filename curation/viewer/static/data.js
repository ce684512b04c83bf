// @ts-check
// Bytes in, bits out: the wire format of docs/protocol.md.

/**
 * @typedef {{name: string, count: number, color: string}} LegendEntry
 * @typedef {Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array} TypedArray
 * @typedef {{kind: string, version: string, n: number, extent: number[], levels: number[],
 *   legend: LegendEntry[], none: LegendEntry, field: string, form: string, coding: string,
 *   seq: number, since: number}} Header
 * @typedef {{header: Header, columns: Record<string, TypedArray>}} Packed
 */

export const WIRE_FORMAT = 1;
export const FULL_SCALE = 65535;
const PREAMBLE = 16;
const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array };

/** Trouble that the person in front of the map can act on. */
export class MapError extends Error {}

/**
 * Read one packed message; the columns are views on `buffer`, nothing is copied.
 * @param {ArrayBuffer} buffer
 * @returns {Packed}
 */
export function parsePacked(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < PREAMBLE || view.getUint32(0, true) !== 0x50414d43) {
    throw new MapError('The server sent something that is no map. Reload the page.');
  }
  if (view.getUint32(4, true) !== WIRE_FORMAT) {
    throw new MapError('This page is older than the server. Reload the page.');
  }
  const size = view.getUint32(8, true);
  const text = new TextDecoder().decode(new Uint8Array(buffer, PREAMBLE, size));
  /** @type {Header & {columns: {name: string, type: keyof typeof ARRAYS, at: number, length: number}[]}} */
  const header = JSON.parse(text);
  /** @type {Record<string, TypedArray>} */
  const columns = {};
  for (const { name, type, at, length } of header.columns) {
    columns[name] = new ARRAYS[type](buffer, PREAMBLE + size + at, length);
  }
  return { header, columns };
}

/**
 * Fetch and read one packed message.
 * @param {string} url
 * @param {AbortSignal} signal
 * @returns {Promise<Packed>}
 */
export async function fetchPacked(url, signal) {
  const answer = await fetch(url, { signal, credentials: 'same-origin' });
  if (answer.status === 404 || answer.status === 410) {
    throw new MapError('This atlas is gone: it was rebuilt or removed. Reload the page.');
  }
  if (!answer.ok) throw new MapError(`The server answered ${answer.status}.`);
  return parsePacked(await answer.arrayBuffer());
}

/** One categorical column: cluster, or what people decided. */
export class Column {
  /**
   * @param {string} field
   * @param {TypedArray} codes in wire order; the highest value of the type is none
   * @param {Pick<Header, 'legend' | 'none'> & Partial<Header>} header
   */
  constructor(field, codes, header) {
    this.field = field;
    this.codes = codes;
    this.legend = header.legend;
    this.none = header.none;
    this.seq = header.seq ?? 0;
    this.coding = header.coding ?? 'category';
    this.empty = codes.BYTES_PER_ELEMENT === 2 ? 0xffff : 0xffffffff;
  }

  /**
   * The legend entry of an item, or -1: of a bit set the lowest bit.
   * @param {number} index
   */
  code(index) {
    const value = this.codes[index];
    if (this.coding === 'bits') return value ? 31 - Math.clz32(value & -value) : -1;
    return value === this.empty ? -1 : value;
  }

  /** Every item's `code`, none written as the highest value: what the graphics card reads. */
  plainCodes() {
    if (this.coding !== 'bits') return this.codes;
    const plain = new Uint16Array(this.codes.length);
    for (let i = 0; i < plain.length; i++) plain[i] = this.code(i) & 0xffff;
    return plain;
  }

  /**
   * The column after a message of the server, or null where the message does not follow on it.
   * @param {Packed} packed
   * @returns {Column | null}
   */
  after({ header, columns }) {
    if (header.form === 'full') return new Column(this.field, columns.codes, header);
    if (header.since !== this.seq) return null;
    const wide = columns.codes.BYTES_PER_ELEMENT > this.codes.BYTES_PER_ELEMENT;
    if (wide) return null;
    const codes = this.codes.slice();
    const { indices, codes: values } = columns;
    for (let k = 0; k < indices.length; k++) codes[indices[k]] = values[k];
    return new Column(this.field, codes, header);
  }
}

/**
 * Fetch a mutable column: what changed since `have`, else all of it.
 * @param {string} url
 * @param {string} field
 * @param {Column | undefined} have
 * @param {AbortSignal} signal
 * @returns {Promise<Column>}
 */
export async function fetchColumn(url, field, have, signal) {
  if (have) {
    const link = url + (url.includes('?') ? '&' : '?') + `since=${have.seq}`;
    const next = have.after(await fetchPacked(link, signal));
    if (next) return next;
  }
  const { header, columns } = await fetchPacked(url, signal);
  return new Column(field, columns.codes, header);
}

/**
 * A 0/1 mask as base64 of a deflated bit set, lowest bit first.
 * @param {Uint8Array} mask
 * @returns {Promise<string>}
 */
export async function encodeMask(mask) {
  const bits = new Uint8Array((mask.length + 7) >> 3);
  for (let i = 0; i < mask.length; i++) if (mask[i]) bits[i >> 3] |= 1 << (i & 7);
  const squeezed = new Blob([bits]).stream().pipeThrough(new CompressionStream('deflate-raw'));
  const bytes = new Uint8Array(await new Response(squeezed).arrayBuffer());
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}

/**
 * The mask that `encodeMask` made.
 * @param {string} text
 * @param {number} n
 * @returns {Promise<Uint8Array>}
 */
export async function decodeMask(text, n) {
  const squeezed = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const stream = new Blob([squeezed]).stream().pipeThrough(new DecompressionStream('deflate-raw'));
  const bits = new Uint8Array(await new Response(stream).arrayBuffer());
  const mask = new Uint8Array(n);
  for (let i = 0; i < n; i++) mask[i] = (bits[i >> 3] >> (i & 7)) & 1;
  return mask;
}
