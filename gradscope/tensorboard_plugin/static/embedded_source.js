/** The source of the report's file: it reads what is embedded in the page. */

import { binned, within } from "./binning.js";
import { decompressed, unpacked } from "./packed.js";

/** Return the source that reads `payload`, the content of the page's data. */
export function embeddedSource(payload) {
  const opened = new Map();

  function whole(key) {
    if (!(key in payload.arrays)) return Promise.reject(new Error(payload.left_out || `${key} is not in this file`));
    if (!opened.has(key)) opened.set(key, decompressed(payload.arrays[key]).then(unpacked));
    return opened.get(key);
  }

  async function columns(key, range = {}, statistic = null) {
    const pack = await whole(key);
    if (statistic && !(statistic in pack)) throw new Error(`${statistic} is not in this file`);
    const answer = statistic ? { ...pack, values: pack[statistic], statistic, rare: pack.rare[statistic] ?? [] } : pack;
    return binned(within(answer, range), range.width ?? Infinity);
  }

  return {
    runs: () => Promise.resolve(payload.runs),
    document: (run) => Promise.resolve(payload.documents[run]),
    matrix: (member, statistic, range) => columns(`matrices?member=${member}`, range, statistic),
    units: (member, site, statistic, range) => columns(`units?member=${member}&site=${site}`, range, statistic),
    waterfall: (member, range) => columns(`waterfall?member=${member}`, range),
    series: (member) => whole(`series?member=${member}`),
    forget: () => {},
    zooms: false,
  };
}
