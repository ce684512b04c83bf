// @ts-check
// How the map asks the server: the same paths over HTTP, or as messages of a notebook.
import { MapError } from './data.js';

/** @typedef {{signal?: AbortSignal, body?: Uint8Array}} AskOptions a body makes it a POST */
/** @typedef {(path: string, options?: AskOptions) => Promise<ArrayBuffer>} Ask */

/** What went wrong, by HTTP status, in words that say what to do. */
const REASONS = /** @type {Record<number, string>} */ ({
  404: 'This atlas is gone: it was rebuilt or removed. Reload the page.',
  410: 'This atlas is gone: it was rebuilt or removed. Reload the page.',
  403: 'The server refuses this page. Open it at the address that curate serve printed.',
});

/** @param {number} status @returns {MapError} */
export function refusal(status) {
  return new MapError(REASONS[status] ?? `The server answered ${status}.`, status);
}

/**
 * Ask over HTTP, below one address.
 * @param {string} base such as "/api/v1/birds"
 * @returns {Ask}
 */
export function askOverHttp(base) {
  return async (path, { signal, body } = {}) => {
    const method = body ? 'POST' : 'GET';
    const sent = /** @type {BodyInit | undefined} */ (body);
    const answer = await fetch(`${base}/${path}`, { signal, method, body: sent, credentials: 'same-origin' });
    if (!answer.ok) throw refusal(answer.status);
    return answer.arrayBuffer();
  };
}
