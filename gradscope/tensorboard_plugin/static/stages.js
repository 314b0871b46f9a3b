/** What the stages of a waterfall say: where the gradient is lost, and which stages tell it. As on the console. */

import { number } from "./numbers.js";

const MOST_STAGES = 24; // longer than a screen is no picture: of more stages `KEPT` are shown and the rest folded
const KEPT = 16;
const ENDS = 2; // stages kept at either end of a folded picture
const STANDS_OUT = 3; // times the median stage's change, in logs
const MOST_OF_IT = 0.5; // a stage is where the gradient is lost if it takes this share of the whole fall, in logs
const FALL = 0.1; // an end-to-end share above this is no fall to speak of

/** Return the stages of one column of a waterfall: { name, kind, site, passes, left }; left is null where nothing is known. */
export function stagesAt(waterfall, column) {
  const found = [];
  waterfall.stages.forEach((stage, i) => {
    const [passes, left] = [waterfall.transmission, waterfall.remaining].map((values) => values[i * waterfall.columns + column]);
    const before = found.at(-1)?.left;
    found.push({ ...stage, passes: Number.isFinite(passes) ? passes : null, left: Number.isFinite(left) ? left : before === 0 ? 0 : null });
  });
  return found;
}

/** Return the place of the stage that lets nothing through or takes most of a fall by itself; -1 where there is none. */
export function lostAt(stages) {
  const falls = fallsOf(stages);
  const worst = falls.indexOf(Math.max(...falls));
  if (!stages.length || falls[worst] === Infinity) return worst;
  const total = falls.reduce((sum, fall) => sum + fall, 0);
  return total > -Math.log(FALL) && falls[worst] >= MOST_OF_IT * total ? worst : -1;
}

/** Return for each stage by how much, in logs, the most that is left from it on is less than the most from the one before. */
function fallsOf(stages) {
  let further = null;
  const best = [...stages].reverse().map(({ left }) => (further = left === null ? further : Math.max(left, further ?? 0)));
  let before = 1;
  return best.reverse().map((most) => {
    if (most === null || before === 0) return 0;
    const fall = most === 0 ? Infinity : Math.max(0, Math.log(before / most));
    before = most;
    return fall;
  });
}

/** Return in words what the stages show. */
export function caption(stages) {
  const last = stages.findLastIndex(({ left }) => left !== null);
  if (last < 0) return "No gradient was seen at this step.";
  const lost = lostAt(stages);
  const end = stages[last].left;
  const place = last === stages.length - 1 ? "the input" : stages[last].name;
  const how = end ? `${number(end)} of the gradient is left at ${place}` : `No gradient reaches ${place}`;
  if (lost >= 0) return `${how}; it is lost at ${stages[lost].kind === "gate" ? "the gate of" : "the weights"} ${stages[lost].name}.`;
  return end && end < FALL ? `${how}; it fades little by little over ${last + 1} stages.` : `${how}.`;
}

/** Return the places of the stages to show: all, or both ends, those that stand out in any column, and some evenly between. */
export function telling(columns) {
  const count = columns[0]?.length ?? 0;
  const all = Array.from({ length: count }, (_, i) => i);
  if (count <= MOST_STAGES) return all;
  const strength = all.map((i) => Math.max(...columns.map((stages) => change(stages[i]))));
  const enough = STANDS_OUT * Math.max(0, [...strength].sort((a, b) => a - b)[Math.floor(count / 2)]);
  const kept = new Set(all.filter((i) => i < ENDS || i >= count - ENDS));
  columns.map(lostAt).forEach((i) => i >= 0 && kept.add(i));
  const ranked = all.filter((i) => !kept.has(i) && strength[i] > enough).sort((a, b) => strength[b] - strength[a]);
  ranked.slice(0, KEPT - kept.size).forEach((i) => kept.add(i));
  const free = Math.max(0, KEPT - kept.size);
  for (let i = 1; i <= free; i++) kept.add(Math.round((i * count) / (free + 1)));
  all.forEach((i) => kept.has(i - 1) && kept.has(i + 1) && kept.add(i)); // a line says no less than "one stage not shown"
  return [...kept].sort((a, b) => a - b);
}

function change(stage) {
  if (!stage || stage.passes === null) return -1;
  return stage.passes <= 0 ? Infinity : Math.abs(Math.log(stage.passes));
}
