// @ts-check
// Pictures that are not on the screen yet, and how they get there.

/** @typedef {{program: WebGLProgram, at: Record<string, WebGLUniformLocation | null>}} Linked */

/**
 * A program and the places of its uniforms, whose names begin with a u that is left out here. It is
 * compiled beside what the page does next: nobody asks how that went before it is used.
 * @param {WebGL2RenderingContext} gl
 * @param {string} vertex
 * @param {string} fragment
 * @returns {Linked}
 */
export function linked(gl, vertex, fragment) {
  const program = /** @type {WebGLProgram} */ (gl.createProgram());
  const shaders = [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]].map(([kind, source]) => {
    const shader = /** @type {WebGLShader} */ (gl.createShader(Number(kind)));
    gl.shaderSource(shader, String(source));
    gl.compileShader(shader);
    gl.attachShader(program, shader);
    return shader;
  });
  gl.linkProgram(program);
  /** @type {Linked['at'] | undefined} */
  let at;
  return {
    program,
    get at() {
      at ??= uniformsOf(gl, program, shaders);
      return at;
    },
  };
}

/**
 * @param {WebGL2RenderingContext} gl
 * @param {WebGLProgram} program
 * @param {WebGLShader[]} shaders
 */
function uniformsOf(gl, program, shaders) {
  /** @type {Linked['at']} */
  const at = {};
  if (gl.isContextLost()) return at;
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    const logs = shaders.map((shader) => gl.getShaderInfoLog(shader));
    throw new Error(`program: ${[gl.getProgramInfoLog(program), ...logs].join(' ')}`);
  }
  for (let k = 0; k < gl.getProgramParameter(program, gl.ACTIVE_UNIFORMS); k++) {
    const { name } = /** @type {WebGLActiveInfo} */ (gl.getActiveUniform(program, k));
    at[name.slice(1)] = gl.getUniformLocation(program, name);
  }
  return at;
}

/** A picture of the canvas's size in the graphics card's memory; made when first drawn to. */
export class Target {
  /**
   * @param {WebGL2RenderingContext} gl
   * @param {boolean} deep half floats, in which many small weights can be summed
   */
  constructor(gl, deep) {
    this.gl = gl;
    this.deep = deep;
    /** @type {WebGLFramebuffer | null} */
    this.buffer = null;
    this.width = 0;
    this.height = 0;
    this.fresh = true; // nothing of this picture has been drawn yet
  }

  /**
   * @param {number} width
   * @param {number} height
   * @param {boolean} fresh whether a new picture begins
   */
  fit(width, height, fresh) {
    this.fresh ||= fresh || width !== this.width || height !== this.height;
    this.width = width;
    this.height = height;
  }

  /** Draw to this picture from now on; the first call for a new one clears it. */
  bind() {
    const { gl } = this;
    this.buffer ??= gl.createFramebuffer();
    gl.bindFramebuffer(gl.FRAMEBUFFER, this.buffer);
    if (!this.texture || this.made !== `${this.width}x${this.height}`) this.make();
    gl.viewport(0, 0, this.width, this.height);
    if (!this.fresh) return;
    this.fresh = false;
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
  }

  make() {
    const { gl, width, height } = this;
    gl.deleteTexture(this.texture ?? null);
    this.texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, this.deep ? gl.RGBA16F : gl.RGBA8, width, height);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl.CLAMP_TO_EDGE);
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, this.texture, 0);
    this.made = `${width}x${height}`;
    this.fresh = true;
  }
}

const WHOLE = `#version 300 es
precision highp float;
void main() { // one triangle that covers the screen
  gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4. - 1., 0., 1.);
}`;

// Density: the mean colour of the points of a pixel, as strong as the logarithm of their number
// says, so that one point is seen beside a heap of a thousand.
const COMPOSITE = `#version 300 es
precision highp float;
uniform sampler2D uPicture;
uniform float uStrength, uUnit, uDark;
uniform vec2 uScreen;
out vec4 color;
void main() {
  vec4 seen = texture(uPicture, gl_FragCoord.xy / uScreen);
  if (uUnit > 0.) {
    float heap = seen.a / uUnit; // 1 = as many as there are on average
    float strength = clamp(log(1. + 8. * heap) / log(1. + 8. * 9.), 0., 1.);
    vec3 mean = seen.rgb / max(seen.a, 1e-6);
    // colours that were averaged are duller than those of the legend
    mean = clamp(mix(vec3(dot(mean, vec3(.3, .59, .11))), mean, 1.3), 0., 1.);
    // the densest places go towards white on dark paper and towards a full colour on light paper
    float peak = smoothstep(.75, 1., strength);
    mean = mix(mean, uDark > 0. ? mean * .55 + .45 : mean * .82, peak);
    float alpha = seen.a > 0. ? .18 + .82 * strength : 0.;
    seen = vec4(mean * alpha, alpha);
  }
  color = seen * uStrength;
}`;

/**
 * What puts targets on the canvas.
 * @param {WebGL2RenderingContext} gl
 */
export function compositeProgram(gl) {
  const whole = linked(gl, WHOLE, COMPOSITE);
  const array = gl.createVertexArray();
  return {
    /**
     * @param {Target} target
     * @param {{strength: number, unit: number, dark: boolean}} how `unit`: the weight of an average
     *   pixel where the target holds weights, 0 where it holds colours
     */
    draw(target, { strength, unit, dark }) {
      if (target.fresh || !target.texture) return;
      gl.bindVertexArray(array);
      const { program, at } = whole;
      gl.useProgram(program);
      gl.activeTexture(gl.TEXTURE0);
      gl.bindTexture(gl.TEXTURE_2D, target.texture);
      // of a coarse picture the pixels are mixed, which costs software half as much again
      const smooth = target.width < gl.drawingBufferWidth;
      gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, smooth ? gl.LINEAR : gl.NEAREST);
      gl.uniform1i(at.Picture, 0);
      gl.uniform2f(at.Screen, gl.drawingBufferWidth, gl.drawingBufferHeight);
      gl.uniform1f(at.Strength, strength);
      gl.uniform1f(at.Unit, target.deep ? unit : 0);
      gl.uniform1f(at.Dark, dark ? 1 : 0);
      gl.drawArrays(gl.TRIANGLES, 0, 3);
    },
  };
}
