// @ts-check
// Bytes in, bits out: the wire format of docs/protocol.md.

/**
 * @typedef {{name: string, count: number, color: string}} LegendEntry
 * @typedef {Uint8Array | Uint16Array | Uint32Array | Int32Array | Float32Array} TypedArray
 * @typedef {{kind: string, version: string, n: number, extent: number[], levels: number[],
 *   legend: LegendEntry[], none: LegendEntry, field: string, form: string, coding: string,
 *   seq: number, journal?: string, since: number, min: number, max: number, low: number, high: number,
 *   bins: number[], unit: string, zero: number, ramp: string[], layout: string, cell: number,
 *   captions: {x: number, y: number, name: string, count: number}[]}} Header
 * @typedef {{header: Header, columns: Record<string, TypedArray>}} Packed
 */

export const WIRE_FORMAT = 2;
export const FULL_SCALE = 65535;
const PREAMBLE = 16;
const ARRAYS = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f4: Float32Array };

/** Trouble that the person in front of the map can act on. */
export class MapError extends Error {
  /**
   * @param {string} message
   * @param {number} [status] HTTP's, where the server refused
   */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

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

const STEPS = 256; // colours of a continuous column

/** One column to colour and filter by: codes, bit sets or numbers, one for each item. */
export class Column {
  /**
   * @param {string} field
   * @param {TypedArray} values in wire order; codes, whose highest value is none, or numbers
   * @param {Partial<Header> & Pick<Header, 'none'>} header
   */
  constructor(field, values, header) {
    this.field = field;
    this.header = header;
    this.coding = header.coding ?? 'category';
    this.none = header.none;
    this.seq = header.seq ?? 0;
    this.journal = header.journal; // in which it counts; none where a machine filled the column
    /** @type {LegendEntry[]} of numbers, none */
    this.legend = header.legend ?? [];
    /** The numbers of a continuous column, NaN = none. */
    this.values = this.coding === 'value' ? /** @type {Float32Array} */ (values) : null;
    this.codes = this.values ? this.steps(this.values) : values;
    this.empty = this.codes.BYTES_PER_ELEMENT === 2 ? 0xffff : 0xffffffff;
  }

  /**
   * Numbers as steps 0..255 between the header's low and high, beyond them the ends.
   * @param {Float32Array} values
   */
  steps(values) {
    const { low = 0, high = 0 } = this.header;
    const scale = (STEPS - 1) / (high - low || 1);
    const codes = new Uint16Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const step = (values[i] - low) * scale;
      codes[i] = step > 0 ? Math.min(STEPS - 1, Math.round(step)) : step <= 0 ? 0 : 0xffff; // NaN is neither
    }
    return codes;
  }

  /**
   * What colours an item: its legend entry or step, or -1; of a bit set the lowest bit.
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

  /** Colours as "#rrggbb", none first, then by code. @returns {string[]} */
  colors() {
    const { ramp } = this.header;
    if (!this.values || !ramp) return [this.none, ...this.legend].map(({ color }) => color);
    const steps = Array.from({ length: STEPS }, (_, k) => alongRamp(ramp, k / (STEPS - 1)));
    return [this.none.color, ...steps];
  }

  /**
   * The column after a message of the server, or null where the message does not follow on it.
   * @param {Packed} packed
   * @returns {Column | null}
   */
  after({ header, columns }) {
    if (header.form === 'full') return columnOf(this.field, { header, columns });
    if (header.since !== this.seq) return null;
    if (columns.codes.BYTES_PER_ELEMENT !== this.codes.BYTES_PER_ELEMENT) return null; // none is written otherwise
    const codes = this.codes.slice();
    const { indices, codes: values } = columns;
    for (let k = 0; k < indices.length; k++) codes[indices[k]] = values[k];
    return new Column(this.field, codes, header);
  }
}

/**
 * The colour at a part of the way along a list of colours.
 * @param {string[]} ramp
 * @param {number} part 0 to 1
 */
function alongRamp(ramp, part) {
  const at = part * (ramp.length - 1);
  const [from, to] = [ramp[Math.floor(at)], ramp[Math.ceil(at)]];
  const mixed = [1, 3, 5].map((k) => {
    const [a, b] = [from, to].map((text) => parseInt(text.slice(k, k + 2), 16));
    return Math.round(a + (b - a) * (at % 1)).toString(16).padStart(2, '0');
  });
  return `#${mixed.join('')}`;
}

/**
 * @param {string} field
 * @param {Packed} packed
 */
export function columnOf(field, { header, columns }) {
  return new Column(field, columns.values ?? columns.codes, header);
}

/**
 * Fetch a column: what changed since `have`, else all of it.
 * @param {import('./transport.js').Ask} ask
 * @param {string} version
 * @param {string} field
 * @param {Column | undefined} have
 * @param {AbortSignal} signal
 * @returns {Promise<Column>}
 */
export async function fetchColumn(ask, version, field, have, signal) {
  const path = `column/${version}/${encodeURIComponent(field)}`;
  if (have) {
    const journal = have.journal ? `&journal=${have.journal}` : '';
    const next = have.after(parsePacked(await ask(`${path}?since=${have.seq}${journal}`, { signal })));
    if (next) return next;
  }
  return columnOf(field, parsePacked(await ask(path, { signal })));
}

/**
 * A 0/1 mask as a deflated bit set, lowest bit first.
 * @param {Uint8Array} mask
 * @returns {Promise<Uint8Array>}
 */
export async function squeezeMask(mask) {
  const bits = new Uint8Array((mask.length + 7) >> 3);
  for (let i = 0; i < mask.length; i++) if (mask[i]) bits[i >> 3] |= 1 << (i & 7);
  return through(bits, new CompressionStream('deflate-raw'));
}

/**
 * What comes out at the other end of a stream; without a Blob, whose way leads through other
 * processes and takes 40 ms.
 * @param {Uint8Array} bytes
 * @param {CompressionStream | DecompressionStream} stream
 * @returns {Promise<Uint8Array>}
 */
async function through(bytes, stream) {
  const writer = stream.writable.getWriter();
  const written = Promise.all([writer.write(/** @type {BufferSource} */ (bytes)), writer.close()]);
  const reader = stream.readable.getReader();
  /** @type {Uint8Array[]} */
  const parts = [];
  const read = async () => {
    for (let part = await reader.read(); !part.done; part = await reader.read()) parts.push(part.value);
  };
  await Promise.all([read(), written]); // where the bytes are wrong, both fail
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

/**
 * The mask that `squeezeMask` made.
 * @param {Uint8Array} squeezed
 * @param {number} n
 * @returns {Promise<Uint8Array>}
 */
export async function widenMask(squeezed, n) {
  const bits = await through(squeezed, new DecompressionStream('deflate-raw'));
  const mask = new Uint8Array(n);
  for (let i = 0; i < n; i++) mask[i] = (bits[i >> 3] >> (i & 7)) & 1;
  return mask;
}

/**
 * A squeezed mask as base64, for a message of JSON.
 * @param {Uint8Array} bytes
 */
export function asText(bytes) {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000) {
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  }
  return btoa(text);
}

/**
 * The mask behind such a text.
 * @param {string} text
 * @param {number} n
 */
export async function decodeMask(text, n) {
  return widenMask(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)), n);
}
