// @ts-check
import { streamlitHost } from './hosts.js';
import { ContactSheet } from './sheet.js';

export default streamlitHost(
  (parent, /** @type {import('./sheet.js').SheetData} */ data) => new ContactSheet(parent, { key: data.key }),
  (sheet, tell) => {
    sheet.onStrays = (/** @type {unknown} */ message) => tell('strays', message);
  },
);
