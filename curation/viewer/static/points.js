// @ts-check
// The points on the graphics card: soft round dots, or a density where they would cover each other.
import { compositeProgram, linked, Target } from './targets.js';

const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in float aX;
layout(location=1) in float aY;
layout(location=2) in uint aCode;
layout(location=3) in uint aState;
layout(location=4) in float aFromX;
layout(location=5) in float aFromY;
uniform vec2 uCenter, uScale;
uniform float uSize, uDpr, uPart;
uniform uint uPass, uNone;
uniform sampler2D uPalette;
out vec4 vColor;
out float vSize;
flat out uint vChosen;
void main() {
  // Pass 0 draws the ground: every item as if nothing stood out. Pass 1 draws what stands out over
  // it, pass 2 what the filter greys, under it; the rest leaves the picture.
  bool filtered = (aState & 4u) != 0u;
  if ((uPass == 2u) != filtered) { gl_Position = vec4(2., 2., 2., 1.); gl_PointSize = 0.; return; }
  bool chosen = uPass == 1u && (aState & 1u) != 0u;
  bool muted = (aState & 2u) != 0u;
  vChosen = chosen ? 1u : 0u;
  uint texel = aCode == uNone ? 0u : aCode + 1u;
  vec3 color = texelFetch(uPalette, ivec2(int(texel & 255u), int(texel >> 8)), 0).rgb;
  if (filtered) { color = vec3(.6); muted = true; }
  vec2 place = mix(vec2(aFromX, aFromY), vec2(aX, aY), uPart);
  float size = uSize * (chosen ? 1.15 : 1.) * (muted ? .6 : 1.) + (chosen ? uDpr : 0.);
  gl_Position = vec4((place - uCenter) * uScale, 0., 1.);
  gl_PointSize = size + uDpr;
  vSize = size + uDpr;
  vColor = vec4(color, muted ? .35 : 1.);
}`;

const DOTS = `#version 300 es
precision highp float;
in vec4 vColor;
in float vSize;
flat in uint vChosen;
uniform float uDpr, uAlpha, uRim, uSquare;
uniform vec3 uInk, uPaper;
out vec4 color;
void main() {
  float radius = vSize * .5;
  vec2 at = abs(gl_PointCoord - .5) * vSize;
  float away = uSquare > 0. ? max(at.x, at.y) : length(at); // pixels from the middle
  float inside = clamp(radius - away, 0., 1.);
  if (inside <= 0.) discard;
  // the ring of a selected dot needs room: on a small one it would hide the colour
  float rim = vChosen == 1u && vSize > 5.5 * uDpr ? min(1.2 * uDpr, radius * .4) : uRim;
  float edge = rim > 0. ? clamp(away - (radius - .5 - rim) + .5, 0., 1.) : 0.;
  vec3 line = vChosen == 1u ? mix(vColor.rgb, uInk, .85) : mix(vColor.rgb, uPaper, .55);
  float alpha = inside * vColor.a * (vChosen == 1u ? 1. : uAlpha);
  color = vec4(mix(vColor.rgb, line, edge) * alpha, alpha);
}`;

// Every point adds its colour and its weight; how they become paint is the composite's business.
const WEIGHTS = `#version 300 es
precision highp float;
in vec4 vColor;
in float vSize;
flat in uint vChosen;
uniform float uWeight;
out vec4 color;
void main() {
  float inside = clamp(vSize * .5 - length(gl_PointCoord - .5) * vSize, 0., 1.);
  float weight = inside * vColor.a * uWeight;
  color = vec4(vColor.rgb * weight, weight);
}`;

/** The bits of an item's state: selected, excluded, filtered out. */
export const SELECTED = 1;
export const MUTED = 2;
export const FILTERED = 4;

const NEEDED = 4; // slots without which there is nothing to draw: x, y, code, state
const DENSITY_FROM = 3; // dots over each pixel of the picture, on average, from which it is shaded
const DENSITY_FULL = 4.5;
const FADED = 0.26; // how strong the ground is where something stands out over it

/** @typedef {[number, number, number]} Rgb 0 to 1 */
/** @typedef {{x: Uint16Array, y: Uint16Array, z?: Uint16Array}} Places */
/**
 * @typedef {{camera: import('./camera.js').Camera, dpr: number, size: number, alpha: number,
 *   crowd: number, filtering: boolean, ink: Rgb, paper: Rgb, dark: boolean,
 *   square?: boolean, part?: number, coarse?: boolean}} Look
 * `coarse`: whether a density may have half the pixels; `crowd`: how often the points in view would cover it; `part`: how far from the places they come
 * from to those they go to, 1 = arrived.
 */
/**
 * @typedef {{count: number, total: number, items: Uint32Array | null}} Chosen
 * The first `count` of `total`: of all items, or of `items`.
 */

/**
 * "#rrggbb" as three numbers.
 * @param {string} text
 * @returns {Rgb}
 */
export function rgbOf(text) {
  const value = parseInt(text.slice(1), 16);
  return [((value >> 16) & 255) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}

/**
 * A colour lifted where it would drown on dark paper; the legend shows the same.
 * @param {string} text
 * @param {boolean} dark
 * @returns {string}
 */
export function onPaper(text, dark) {
  const [r, g, b] = rgbOf(text);
  const light = 0.2126 * r ** 2.2 + 0.7152 * g ** 2.2 + 0.0722 * b ** 2.2;
  const mix = dark && light < 0.16 ? 0.32 * (1 - light / 0.16) + 0.08 : 0;
  const part = (/** @type {number} */ v) =>
    Math.round(255 * (v + (1 - v) * mix)).toString(16).padStart(2, '0');
  return `#${part(r)}${part(g)}${part(b)}`;
}

/** Buffers, programs and targets of one canvas; made anew after a lost context. */
export class PointLayer {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.none = 0xffff;
    /** @type {string[]} */
    this.colors = [];
    // Half floats that can be drawn to: without them dots stay dots.
    this.shades = Boolean(gl.getExtension('EXT_color_buffer_float') ?? gl.getExtension('EXT_color_buffer_half_float'));
    this.dots = linked(gl, VERTEX, DOTS);
    this.weights = this.shades ? linked(gl, VERTEX, WEIGHTS) : null;
    this.composite = compositeProgram(gl);
    this.below = new Target(gl, false);
    this.behind = new Target(gl, false);
    this.front = new Target(gl, false);
    this.crowd = this.shades ? new Target(gl, true) : null;
    this.array = gl.createVertexArray();
    this.buffers = Array.from({ length: 6 }, () => gl.createBuffer());
    this.list = gl.createBuffer();
    this.raised = gl.createBuffer();
    /** @type {Set<number>} the slots that have values */
    this.filled = new Set();
    /** @type {Map<WebGLBuffer | null, Uint32Array>} the items that `list` and `raised` hold */
    this.held = new Map();
    this.share = 0; // of the points in view that have been drawn
    this.palette = gl.createTexture();
    gl.enable(gl.BLEND);
    gl.disable(gl.DEPTH_TEST);
  }

  /**
   * @param {number} slot
   * @param {ArrayBufferView} values
   */
  fill(slot, values) {
    const gl = this.gl;
    gl.bindVertexArray(this.array);
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[slot]);
    gl.bufferData(gl.ARRAY_BUFFER, values, slot < 2 ? gl.STATIC_DRAW : gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(slot);
    this.filled.add(slot);
  }

  /**
   * Where the points are, and where they come from while a change of layout is animated.
   * @param {Places} places
   * @param {Places | null} [from]
   */
  setPlaces({ x, y }, from = null) {
    const gl = this.gl;
    [x, y, ...(from ? [from.x, from.y] : [])].forEach((values, k) => {
      const slot = k < 2 ? k : k + 2;
      this.fill(slot, values);
      gl.vertexAttribPointer(slot, 1, gl.UNSIGNED_SHORT, false, 0, 0);
    });
    if (from) return;
    for (const slot of [4, 5]) {
      gl.disableVertexAttribArray(slot);
      gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[slot]);
      gl.bufferData(gl.ARRAY_BUFFER, 0, gl.STATIC_DRAW);
    }
  }

  /** @param {import('./data.js').TypedArray} codes the highest value of the type is none */
  setCodes(codes) {
    const gl = this.gl;
    const wide = codes.BYTES_PER_ELEMENT === 4;
    this.none = wide ? 0xffffffff : 0xffff;
    this.fill(2, codes);
    gl.vertexAttribIPointer(2, 1, wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0, 0);
  }

  /** @param {Uint8Array} state sums of SELECTED, MUTED, FILTERED */
  setState(state) {
    this.fill(3, state);
    this.gl.vertexAttribIPointer(3, 1, this.gl.UNSIGNED_BYTE, 0, 0);
  }

  /** @param {string[]} colors none first, then by code */
  setPalette(colors) {
    const gl = this.gl;
    this.colors = colors;
    const rows = Math.ceil(colors.length / 256);
    const pixels = new Uint8Array(rows * 256 * 4).fill(255);
    colors.forEach((text, k) => pixels.set(rgbOf(text).map((v) => Math.round(v * 255)), 4 * k));
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  /** How much of the picture is density and not dots, 0 to 1. @param {Look} look */
  shading({ crowd, square }) {
    if (!this.shades || square) return 0;
    return Math.min(1, Math.max(0, (crowd - DENSITY_FROM) / (DENSITY_FULL - DENSITY_FROM)));
  }

  /**
   * Draw the chosen points straight to the canvas: the quickest where dots are dots and none stands out.
   * @param {Look} look
   * @param {Chosen} chosen
   */
  direct(look, { count, items }) {
    const { gl } = this;
    this.blank();
    this.bring(items, this.list);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    for (const pass of [...(look.filtering ? [2] : []), 0]) {
      this.use(this.dots, look, pass);
      this.run(items, 0, count);
    }
  }

  /** Begin a new picture on the canvas. */
  blank() {
    const { gl } = this;
    gl.bindFramebuffer(gl.FRAMEBUFFER, null);
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  /**
   * @param {Uint32Array | null} items what a list draws
   * @param {WebGLBuffer | null} list where they are kept
   */
  bring(items, list) {
    const { gl } = this;
    gl.bindVertexArray(this.array);
    if (!items) return;
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, list);
    if (items === this.held.get(list)) return;
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, items, gl.DYNAMIC_DRAW);
    this.held.set(list, items);
  }

  /**
   * @param {Uint32Array | null} items
   * @param {number} from
   * @param {number} to
   */
  run(items, from, to) {
    const { gl } = this;
    if (from === to || this.filled.size < NEEDED) return; // nothing to draw, or not all of it yet
    if (items) gl.drawElements(gl.POINTS, to - from, gl.UNSIGNED_INT, 4 * from);
    else gl.drawArrays(gl.POINTS, from, to - from);
  }

  /**
   * Add points to the ground that is being made; `from` 0 begins a new one.
   * @param {Look} look
   * @param {Chosen} chosen
   * @param {number} from the first of the chosen that is not there yet
   * @param {number} to one after the last to draw now
   */
  add(look, { total, items }, from, to) {
    const { gl } = this;
    const shading = this.shading(look);
    this.share = 0;
    const { width, height } = gl.canvas;
    for (const target of [this.below, this.behind]) target.fit(width, height, from === 0);
    const finer = look.coarse ? 2 : 1;
    this.crowd?.fit(Math.ceil(width / finer), Math.ceil(height / finer), from === 0);
    this.bring(items, this.list);
    if (shading && this.weights && this.crowd) {
      this.crowd.bind();
      gl.blendFunc(gl.ONE, gl.ONE);
      this.use(this.weights, look, 0);
      gl.uniform1f(this.weights.at.Weight, 1);
      gl.uniform1f(this.weights.at.Size, (look.size * look.dpr) / finer);
      this.run(items, from, to);
    }
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    /** @type {[boolean, Target, number][]} */
    const passes = [[look.filtering, this.below, 2], [shading < 1, this.behind, 0]];
    for (const [wanted, target, pass] of passes) {
      if (!wanted) continue;
      target.bind();
      this.use(this.dots, look, pass);
      this.run(items, from, to);
    }
    this.share = to / Math.max(1, total);
  }

  /**
   * Draw what stands out; the ground stays as it is.
   * @param {Look} look
   * @param {Uint32Array} items ascending
   * @param {number} count how many of them to draw, an even sample
   */
  raise(look, items, count) {
    const { gl } = this;
    const { width, height } = gl.canvas;
    this.front.fit(width, height, true);
    this.front.bind();
    this.bring(items, this.raised);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.use(this.dots, look, 1);
    this.run(items, 0, count);
  }

  /**
   * @param {import('./targets.js').Linked} program
   * @param {Look} look
   * @param {number} pass
   */
  use({ program, at }, look, pass) {
    const { gl } = this;
    const { camera, dpr, size, alpha, ink, paper, part = 1 } = look;
    gl.useProgram(program);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.uniform1i(at.Palette, 0);
    gl.uniform2f(at.Center, camera.x, camera.y);
    gl.uniform2f(at.Scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    gl.uniform1f(at.Size, size * dpr);
    gl.uniform1f(at.Dpr, dpr);
    gl.uniform1f(at.Alpha, alpha);
    gl.uniform1f(at.Part, part);
    gl.uniform1f(at.Square, look.square ? 1 : 0);
    gl.uniform1f(at.Rim, size > 4 && !look.square ? 0.9 * dpr : 0);
    gl.uniform3f(at.Ink, ...ink);
    gl.uniform3f(at.Paper, ...paper);
    gl.uniform1ui(at.None, this.none);
    gl.uniform1ui(at.Pass, pass);
  }

  /**
   * Put what has been drawn so far on the canvas.
   * @param {Look} look
   * @param {boolean} over whether something stands out
   */
  show(look, over) {
    const { gl } = this;
    const { dark } = look;
    const shading = this.shading(look);
    this.blank();
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    const fade = over ? FADED : 1;
    const unit = 0.785 * look.crowd * this.share;
    if (look.filtering) this.composite.draw(this.below, { strength: 1, unit: 0, dark });
    if (shading && this.crowd) this.composite.draw(this.crowd, { strength: shading * (0.3 + 0.7 * fade), unit, dark });
    if (shading < 1) this.composite.draw(this.behind, { strength: (1 - shading) * fade, unit: 0, dark });
    if (over) this.composite.draw(this.front, { strength: 1, unit: 0, dark });
  }
}
