/** Fewer columns than were recorded: each shows one record, and what is not finite never vanishes. */

/** Return the columns of `answer` whose steps lie from `from` to `to`, both included; `answer` itself where that is all. */
export function within(answer, { from = -Infinity, to = Infinity } = {}) {
  const first = answer.steps.findIndex((step) => step >= from);
  const last = answer.steps.findLastIndex((step) => step <= to);
  if (first < 0 || last < first) return picked(answer, []);
  if (first === 0 && last === answer.steps.length - 1) return answer;
  return picked(answer, Array.from({ length: last - first + 1 }, (_, i) => [first + i, first + i + 1]));
}

/**
 * Return `answer` in at most `most` columns, each the first of its bin, the last column the last one; `answer` itself where
 * it has no more. A NaN or infinity anywhere in a bin stands in its column; in the rows that `answer.rare` names, which were
 * looked at in few of the records, a number takes the place of NaN instead. As `binned` of view_arrays.py, which named them.
 */
export function binned(answer, most) {
  const count = answer.steps.length;
  if (count <= most) return answer;
  const bins = Array.from({ length: most }, (_, i) => [Math.floor((i * count) / most), Math.floor(((i + 1) * count) / most)]);
  return picked(answer, bins);
}

/** Return the answer with a column for each bin, [first, after] among its columns. */
function picked(answer, bins) {
  const found = { ...answer, columns: bins.length, steps: new Int32Array(bins.length) };
  const shown = bins.map(([first, after], i) => (i === bins.length - 1 ? after - 1 : first));
  shown.forEach((column, i) => (found.steps[i] = answer.steps[column]));
  const rare = new Set(answer.rare);
  for (const name of ["values", "transmission", "remaining"]) {
    if (!(name in answer)) continue;
    found[name] = new Float32Array(answer.rows * bins.length);
    for (let row = 0; row < answer.rows; row++) {
      const start = row * answer.columns;
      bins.forEach(([first, after], i) => {
        found[name][row * bins.length + i] = telling(answer[name], start + first, start + after, start + shown[i], rare.has(row));
      });
    }
  }
  return found;
}

/** Return the value that stands for those from `first` to before `after`: that of `shown`, unless another one tells more. */
function telling(values, first, after, shown, isRare) {
  let found = values[shown];
  for (let i = first; i < after; i++) {
    if (Math.abs(values[i]) === Infinity) return values[i];
    if (Number.isNaN(values[i]) !== isRare && Number.isNaN(found) === isRare) found = values[i];
  }
  return found;
}

/** Return the column that stands for a step: the last one that is not later, the first where all are. */
export function columnAt(steps, step) {
  let low = 0;
  let high = steps.length - 1;
  while (low < high) {
    const middle = Math.ceil((low + high) / 2);
    if (steps[middle] <= step) low = middle;
    else high = middle - 1;
  }
  return low;
}
