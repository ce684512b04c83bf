// @ts-check
// Where the map lives: Streamlit's components call the default export with their arguments,
// a notebook (anywidget) calls it without any and takes `render`.
import { MapError } from './data.js';
import { streamlitHost } from './hosts.js';
import { CurationMap } from './map.js';
import { HELD_BY_HOST } from './remember.js';
import { refusal } from './transport.js';

/** @typedef {import('./map.js').MapData} MapData */
/** @typedef {import('./map.js').Command} Command */
/** @typedef {import('./transport.js').Ask} Ask */
/** @typedef {{id?: number, status?: number, color_by?: string, trouble?: string}} Told */
/**
 * What anywidget gives of the widget in Python.
 * @typedef {{get: (name: string) => any,
 *   on: (event: string, callback: (content: Told, buffers: DataView[]) => void) => void,
 *   send: (content: object, callbacks?: object, buffers?: ArrayBuffer[]) => void}} NotebookModel
 */

/**
 * Ask with the messages of a notebook: `{id, path}` and a body up, `{id, status}` and bytes down.
 * @param {NotebookModel} model
 * @returns {Ask}
 */
function askOverMessages(model) {
  /** @type {Map<number, {resolve: (answer: ArrayBuffer) => void, reject: (error: Error) => void}>} */
  const asked = new Map();
  // Every page of a kernel hears every answer, so each counts from a number of its own.
  let last = Math.floor(Math.random() * 2 ** 31) * 2 ** 20;
  model.on('msg:custom', ({ id, status = 0 }, [found]) => {
    const question = id === undefined ? undefined : asked.get(id);
    if (!question || id === undefined) return;
    asked.delete(id);
    if (status !== 200) question.reject(refusal(status));
    // The bytes lie anywhere in a larger message: a copy of them starts where arrays can start.
    else question.resolve(new Uint8Array(found.buffer, found.byteOffset, found.byteLength).slice().buffer);
  });
  return (path, { signal, body } = {}) =>
    new Promise((resolve, reject) => {
      const id = ++last;
      const forget = () => {
        if (asked.delete(id)) model.send({ forget: id });
        reject(new DOMException('no longer needed', 'AbortError'));
      };
      if (signal?.aborted) return forget();
      signal?.addEventListener('abort', forget, { once: true });
      const done = () => signal?.removeEventListener('abort', forget);
      asked.set(id, {
        resolve: (answer) => (done(), resolve(answer)),
        reject: (error) => (done(), reject(error)),
      });
      model.send({ id, path }, undefined, body ? [body.slice().buffer] : []);
    });
}

const WAITING = 'Waiting for the kernel, which is busy or has ended. Where it has, run the cell again.';
const KERNEL_SLOW = 8000; // ms after which a kernel that does not answer is named

/** The maps of each widget: one may be shown in several cells. @type {Map<string, Set<CurationMap>>} */
const shownTogether = new Map();

/**
 * Show the map of a widget in one more cell; returns what ends it.
 * @param {{model: NotebookModel, el: HTMLElement}} cell
 */
function renderInNotebook({ model, el }) {
  /** @type {MapData} */
  const first = model.get('data');
  const ended = new AbortController();
  letKeysThrough(el, ended.signal);
  const map = new CurationMap(el, { key: HELD_BY_HOST + first.key });
  const together = shownTogether.get(first.key) ?? new Set();
  shownTogether.set(first.key, together.add(map));
  const redrawOthers = () => together.forEach((other) => other !== map && other.n && other.showSelected());
  map.transport = askOverMessages(model);
  map.onSelection = (/** @type {unknown} */ selection) => {
    model.send({ selection });
    redrawOthers();
  };
  map.root.style.height = `var(--atlas-map-height, ${first.height ?? 640}px)`;
  /** @param {MapData} data */
  const show = async (data) => {
    await map.update(data);
    redrawOthers(); // they share the memory, in which a command is obeyed once
  };
  model.on('msg:custom', ({ color_by: field, trouble }) => {
    if (field) map.setColor(field);
    if (trouble) map.fail(new MapError(trouble), null);
    else if (trouble === '') map.settled();
  });
  const theme = new MutationObserver(() => map.restyle());
  const attached = new ResizeObserver(() => map.restyle()); // outside the page nothing has a colour
  attached.observe(el);
  theme.observe(document.body, { attributeFilter: ['data-jp-theme-name', 'data-jp-theme-light', 'class'] });
  model.on('change:data', () => show(model.get('data')));
  const begin = async () => {
    map.chrome.showVeil('Loading the map', { wait: true });
    const named = setTimeout(() => map.n || map.chrome.showVeil(WAITING, { wait: true }), KERNEL_SLOW);
    try {
      const held = map.memory.past.length ? null : await heldIn((path) => map.ask(path));
      const data = /** @type {MapData} */ (model.get('data'));
      const newer = held && held.seq >= (data.command?.seq ?? 0);
      await show(newer ? { ...data, command: held } : data);
    } catch (error) {
      if (!ended.signal.aborted) map.fail(error, begin);
    } finally {
      clearTimeout(named);
    }
  };
  begin();
  return () => {
    ended.abort();
    theme.disconnect();
    attached.disconnect();
    together.delete(map);
    map.destroy();
  };
}

/**
 * The map's keys are not JupyterLab's, where B inserts a cell below; Ctrl+S still saves.
 * JupyterLab listens at the document, so this must come before it.
 * @param {HTMLElement} el
 * @param {AbortSignal} signal
 */
function letKeysThrough(el, signal) {
  const mark = (/** @type {KeyboardEvent} */ { ctrlKey, metaKey }) =>
    el.toggleAttribute('data-lm-suppress-shortcuts', !ctrlKey && !metaKey);
  window.addEventListener('keydown', mark, { capture: true, signal });
}

/**
 * What is selected, as a command: the page may be new and the kernel is not.
 * @param {Ask} ask
 * @returns {Promise<Command>}
 */
async function heldIn(ask) {
  return JSON.parse(new TextDecoder().decode(await ask('selection')));
}

const inStreamlit = streamlitHost(
  (parent, /** @type {MapData} */ data) => new CurationMap(parent, { key: `${data.base} ${data.key}` }),
  (map, tell) => {
    map.onSelection = (/** @type {unknown} */ message) => tell('selection', message);
  },
);

/** @param {import('./hosts.js').StreamlitArguments<MapData>} [component] */
export default (component) => (component ? inStreamlit(component) : { render: renderInNotebook });
