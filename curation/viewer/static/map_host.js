// @ts-check
import { streamlitHost } from './hosts.js';
import { CurationMap } from './map.js';

export default streamlitHost(
  (parent, /** @type {import('./map.js').MapData} */ data) => new CurationMap(parent, { key: data.key }),
  (map, tell) => {
    map.onSelection = (/** @type {unknown} */ message) => tell('selection', message);
  },
);
