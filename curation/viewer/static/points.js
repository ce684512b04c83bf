// @ts-check
// The points on the graphics card: one draw of soft round dots, coloured by code.

const VERTEX = `#version 300 es
precision highp float;
layout(location=0) in float aX;
layout(location=1) in float aY;
layout(location=2) in uint aCode;
layout(location=3) in uint aState;
uniform vec2 uCenter, uScale;
uniform float uSize, uDpr, uFade;
uniform uint uPass, uNone, uPick, uPicking;
uniform sampler2D uPalette;
out vec4 vColor;
out float vSize;
flat out uint vChosen;
void main() {
  bool chosen = (aState & 1u) != 0u;
  bool muted = (aState & 2u) != 0u;
  bool front = uPicking == 1u ? aCode == uPick : chosen;
  vChosen = chosen ? 1u : 0u;
  // Pass 0 draws what stays behind, pass 1 what stands out; the rest leaves the picture.
  if ((uPass == 1u) != front) { gl_Position = vec4(2., 2., 2., 1.); gl_PointSize = 0.; return; }
  uint texel = aCode == uNone ? 0u : aCode + 1u;
  vec3 color = texelFetch(uPalette, ivec2(int(texel & 255u), int(texel >> 8)), 0).rgb;
  float size = uSize * (chosen ? 1.15 : 1.) * (muted ? .6 : 1.) + (chosen ? uDpr : 0.);
  gl_Position = vec4((vec2(aX, aY) - uCenter) * uScale, 0., 1.);
  gl_PointSize = size + uDpr;
  vSize = size + uDpr;
  vColor = vec4(color, (front ? 1. : uFade) * (muted ? .35 : 1.));
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec4 vColor;
in float vSize;
flat in uint vChosen;
uniform float uDpr, uAlpha, uRim;
uniform vec3 uInk, uPaper;
out vec4 color;
void main() {
  float radius = vSize * .5;
  float away = length(gl_PointCoord - .5) * vSize; // pixels from the middle
  float inside = clamp(radius - away, 0., 1.);
  if (inside <= 0.) discard;
  float rim = vChosen == 1u ? min(1.2 * uDpr, radius * .4) : uRim;
  float edge = rim > 0. ? clamp(away - (radius - .5 - rim) + .5, 0., 1.) : 0.;
  vec3 line = vChosen == 1u ? mix(vColor.rgb, uInk, .85) : mix(vColor.rgb, uPaper, .55);
  float alpha = inside * vColor.a * (vChosen == 1u ? 1. : uAlpha);
  color = vec4(mix(vColor.rgb, line, edge) * alpha, alpha);
}`;

/** @typedef {[number, number, number]} Rgb 0 to 1 */
/** @typedef {{x: Uint16Array, y: Uint16Array}} Places */

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

/**
 * @param {WebGL2RenderingContext} gl
 * @param {number} kind
 * @param {string} source
 */
function compiled(gl, kind, source) {
  const shader = /** @type {WebGLShader} */ (gl.createShader(kind));
  gl.shaderSource(shader, source);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS) && !gl.isContextLost()) {
    throw new Error(`shader: ${gl.getShaderInfoLog(shader)}`);
  }
  return shader;
}

/** Buffers and program of one canvas; made anew after a lost context. */
export class PointLayer {
  /** @param {WebGL2RenderingContext} gl */
  constructor(gl) {
    this.gl = gl;
    this.n = 0;
    this.none = 0xffff;
    this.program = /** @type {WebGLProgram} */ (gl.createProgram());
    gl.attachShader(this.program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
    gl.attachShader(this.program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(`program: ${gl.getProgramInfoLog(this.program)}`);
    }
    /** @type {Record<string, WebGLUniformLocation | null>} */
    this.at = {};
    const names = 'Center Scale Size Dpr Fade Pass None Pick Picking Palette Alpha Rim Ink Paper';
    for (const name of names.split(' ')) {
      this.at[name] = gl.getUniformLocation(this.program, `u${name}`);
    }
    this.array = gl.createVertexArray();
    this.buffers = [0, 1, 2, 3].map(() => gl.createBuffer());
    this.palette = gl.createTexture();
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
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
  }

  /** @param {Places} places */
  setPlaces({ x, y }) {
    const gl = this.gl;
    this.n = x.length;
    this.fill(0, x);
    gl.vertexAttribPointer(0, 1, gl.UNSIGNED_SHORT, false, 0, 0);
    this.fill(1, y);
    gl.vertexAttribPointer(1, 1, gl.UNSIGNED_SHORT, false, 0, 0);
  }

  /** @param {import('./data.js').TypedArray} codes the highest value of the type is none */
  setCodes(codes) {
    const gl = this.gl;
    const wide = codes.BYTES_PER_ELEMENT === 4;
    this.none = wide ? 0xffffffff : 0xffff;
    this.fill(2, codes);
    gl.vertexAttribIPointer(2, 1, wide ? gl.UNSIGNED_INT : gl.UNSIGNED_SHORT, 0, 0);
  }

  /** @param {Uint8Array} state bit 0 selected, bit 1 muted */
  setState(state) {
    this.fill(3, state);
    this.gl.vertexAttribIPointer(3, 1, this.gl.UNSIGNED_BYTE, 0, 0);
  }

  /** @param {string[]} colors none first, then by code */
  setPalette(colors) {
    const gl = this.gl;
    const rows = Math.ceil(colors.length / 256);
    const pixels = new Uint8Array(rows * 256 * 4).fill(255);
    colors.forEach((text, k) => pixels.set(rgbOf(text).map((v) => Math.round(v * 255)), 4 * k));
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, rows, 0, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
  }

  /**
   * Draw the first `count` points.
   * @param {{camera: import('./camera.js').Camera, dpr: number, count: number, size: number,
   *   alpha: number, standOut: boolean, pick: number | null, ink: Rgb, paper: Rgb}} look
   */
  draw({ camera, dpr, count, size, alpha, standOut, pick, ink, paper }) {
    const { gl, at } = this;
    gl.viewport(0, 0, gl.drawingBufferWidth, gl.drawingBufferHeight);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!count) return;
    gl.useProgram(this.program);
    gl.bindVertexArray(this.array);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.palette);
    gl.uniform1i(at.Palette, 0);
    gl.uniform2f(at.Center, camera.x, camera.y);
    gl.uniform2f(at.Scale, (2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height);
    gl.uniform1f(at.Size, size * dpr);
    gl.uniform1f(at.Dpr, dpr);
    gl.uniform1f(at.Alpha, alpha);
    gl.uniform1f(at.Rim, size > 4 ? 0.9 * dpr : 0);
    gl.uniform1f(at.Fade, standOut || pick !== null ? 0.22 : 1);
    gl.uniform3f(at.Ink, ...ink);
    gl.uniform3f(at.Paper, ...paper);
    gl.uniform1ui(at.None, this.none);
    gl.uniform1ui(at.Picking, pick === null ? 0 : 1);
    gl.uniform1ui(at.Pick, pick === null || pick < 0 ? this.none : pick);
    for (const pass of standOut || pick !== null ? [0, 1] : [0]) {
      gl.uniform1ui(at.Pass, pass);
      gl.drawArrays(gl.POINTS, 0, count);
    }
  }
}
