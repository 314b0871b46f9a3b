/** Questions to a run's document that more than one panel asks. */

/** Return the member's entry, or undefined. */
export function memberOf(document, name) {
  return document.members.find((member) => member.member === name);
}

/** Return the sites of a member, in forward order. */
export function sitesOf(document, name) {
  return document.layouts[memberOf(document, name)?.layout]?.sites ?? [];
}

/** Return the statistic's entry, or undefined. */
export function statisticOf(document, name) {
  return document.statistics.find((statistic) => statistic.name === name);
}

/** Return what a member is called: its arm with its seed; a watched loop, which has one member, by its arm alone. */
export function memberTitle(document, name) {
  const member = memberOf(document, name);
  return !member || member.role === "run" ? (member?.arm ?? name) : `${member.arm}, seed ${member.seed}`;
}

/** Return the members that have a trace, so that there is something to draw. */
export function drawable(document) {
  return document.members.filter((member) => member.statistics.length > 0);
}

/** Return the member to look at first: where the first finding shows, else the control's first. */
export function firstMember(document) {
  const found = document.findings.map((finding) => finding.place?.member).find((name) => name && memberOf(document, name));
  return found ?? drawable(document)[0]?.member ?? null;
}

/** Return the member to set beside another: from the same seed, the recommended fix or else the best one; null where there is none. */
export function firstBeside(document, name) {
  const shown = memberOf(document, name);
  const tried = document.fixes.filter((fix) => fix.role === "fix" && fix.effect !== null).sort((a, b) => b.effect - a.effect);
  const arm = document.recommended ?? tried[0]?.arm;
  if (!shown || shown.arm === arm) return null;
  const candidates = drawable(document).filter((member) => member.arm === arm);
  return (candidates.find((member) => member.seed === shown.seed) ?? candidates[0])?.member ?? null;
}

/** Return the finding's mark: filled where a failure starts, hollow where it follows. */
export function markOf(finding) {
  return finding.role === "origin" ? "\u25c6" : "\u25c7";
}

/** Return the findings that show in a member: those of its seed in the control or in a watched loop. */
export function findingsIn(document, name) {
  const member = memberOf(document, name);
  if (!member || !["control", "run"].includes(member.role)) return [];
  return document.findings.filter((finding) => member.role === "run" || finding.seeds.includes(member.seed));
}

/** Return whether a fix is proved to work: without any that is, the most promising one is advised. */
export function isProved(fix) {
  return fix?.verdict === "works";
}
