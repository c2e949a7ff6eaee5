/** The visible stretch of a timeline and how it zooms and moves; milliseconds since 1970. */

export interface View {
  from: number;
  to: number;
}

export const SHORTEST_MS = 10_000;
export const LONGEST_MS = 86_400_000;

/** Where a moment lies, in pixels from the left. */
export function toX(view: View, width: number, moment: number): number {
  return ((moment - view.from) / (view.to - view.from)) * width;
}

/** The moment at a number of pixels from the left. */
export function toMoment(view: View, width: number, x: number): number {
  return view.from + (x / width) * (view.to - view.from);
}

/** Shows `factor` times as much, while `anchor` keeps its place. */
export function zoom(view: View, factor: number, anchor: number): View {
  const length = view.to - view.from;
  const wanted = Math.min(LONGEST_MS, Math.max(SHORTEST_MS, length * factor));
  const share = (anchor - view.from) / length;
  const from = anchor - share * wanted;
  return { from, to: from + wanted };
}

/** Moves the view. */
export function pan(view: View, by: number): View {
  return { from: view.from + by, to: view.to + by };
}

/** Turns a page when a moment has left the view, so that it stands at an eighth. */
export function follow(view: View, moment: number): View {
  if (moment >= view.from && moment <= view.to) return view;
  return pan(view, moment - (view.to - view.from) / 8 - view.from);
}

/** A view that holds a stretch with some room around it. */
export function around(from: number, to: number): View {
  const margin = Math.max((to - from) * 0.15, SHORTEST_MS / 2);
  return { from: from - margin, to: to + margin };
}

const STEPS_S = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600];

/** Round moments to label, at least `spacing` pixels apart. The zone has whole hours from UTC. */
export function ticks(view: View, width: number, spacing: number): { moments: number[]; step: number } {
  const least = ((view.to - view.from) / Math.max(1, width)) * spacing;
  const step = (STEPS_S.find((s) => s * 1000 >= least) ?? 21_600) * 1000;
  // Steps longer than an hour count from midnight in UTC+7.
  const offset = 7 * 3_600_000;
  const moments: number[] = [];
  for (let t = Math.ceil((view.from + offset) / step) * step - offset; t <= view.to; t += step)
    moments.push(t);
  return { moments, step };
}

/** The nearest of some moments if it is within a number of pixels, else the moment itself. */
export function snap(view: View, width: number, moment: number, targets: number[], withinPx: number): number {
  const reach = (withinPx / width) * (view.to - view.from);
  let best = moment;
  let distance = reach;
  for (const target of targets) {
    const d = Math.abs(target - moment);
    if (d <= distance) [best, distance] = [target, d];
  }
  return best;
}
