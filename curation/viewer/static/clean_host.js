// @ts-check
import { CleaningSheet } from './clean.js';
import { streamlitHost } from './hosts.js';

export default streamlitHost(
  (parent, /** @type {import('./clean.js').Shown} */ data) => new CleaningSheet(parent, data.key),
  (sheet, tell) => {
    sheet.tell = (/** @type {unknown} */ message) => tell('act', message);
  },
);
