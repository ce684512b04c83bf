// @ts-check
// What is newest, from the component that asks the server to the others on the page: each is a
// module of its own, and the page's script takes longer to tell them.

/**
 * `url` is where it was asked for; `held` says who else cleans each cluster of the atlas `shown`.
 * @typedef {{url: string, journal: string, seq: number, shown: string, held: Record<string, string[]>}} News
 */

const NEWS = 'curation-news';

/** @param {News} news */
export function tellNews(news) {
  document.dispatchEvent(new CustomEvent(NEWS, { detail: news }));
}

/** @param {(news: News) => void} hear @param {AbortSignal} signal ends it */
export function onNews(hear, signal) {
  document.addEventListener(NEWS, (event) => hear(/** @type {CustomEvent<News>} */ (event).detail), { signal });
}
