/** The source of the tab: it asks TensorBoard's server, and remembers the answers until the next reload. */

import { unpacked } from "./packed.js";

const MOST_REMEMBERED = 200; // answers; a matrix of 200 sites at 1200 columns has 1 MB

/** Return the source that asks the routes below `base`; its `forget()` drops what was remembered. */
export function routeSource(base = "./") {
  const answers = new Map();

  function ask(route, parameters, read) {
    const given = Object.entries(parameters).filter(([, value]) => value !== undefined && value !== null);
    const address = `${base}${route}${given.length ? `?${new URLSearchParams(given)}` : ""}`;
    if (!answers.has(address)) {
      if (answers.size >= MOST_REMEMBERED) answers.delete(answers.keys().next().value);
      const answer = fetched(address, read);
      answer.catch(() => answers.delete(address)); // to be asked again
      answers.set(address, answer);
    }
    return answers.get(address);
  }

  const json = (response) => response.json();
  const arrays = async (response) => unpacked(await response.arrayBuffer());
  return {
    runs: () => ask("runs", {}, json),
    document: (run) => ask("document", { run }, json),
    matrix: (member, statistic, range = {}) => ask("matrix", { member, statistic, ...range }, arrays),
    units: (member, site, statistic, range = {}) => ask("units", { member, site, statistic, ...range }, arrays),
    waterfall: (member, range = {}) => ask("waterfall", { member, ...range }, arrays),
    series: (member, range = {}) => ask("series", { member, ...range }, arrays),
    forget: () => answers.clear(),
    zooms: true, // a part of the steps has more columns than it has within the whole
  };
}

async function fetched(address, read) {
  let response;
  try {
    response = await fetch(address);
  } catch (error) {
    throw new Error("TensorBoard does not answer; is it still running?", { cause: error });
  }
  if (response.ok) return read(response);
  const said = await response.json().catch(() => ({}));
  throw new Error(said.error ?? `TensorBoard answered ${response.status}`);
}
