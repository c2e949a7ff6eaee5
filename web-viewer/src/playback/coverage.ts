/** What was recorded and what was not, on wall time in milliseconds. */
import type { GapCause, Timeline } from '../api/types';

/** A stretch without footage. */
export interface Hole {
  start: number;
  /** Null while nothing has been recorded since. */
  end: number | null;
  /** Null when nobody knows. */
  cause: GapCause | null;
  detail: string | null;
  /** Recorded perhaps, but not here yet. */
  pending: boolean;
  /** Recorded, but only its recorder has it. */
  atEdge?: boolean;
}

export interface Covered {
  start: number;
  end: number;
}

/** One stream's coverage, in order of time. */
export interface Coverage {
  streamId: string;
  viewpoint: string;
  spans: Covered[];
  holes: Hole[];
}

/** Shorter breaks are seams between runs, or two ways of rounding; no one would see them as missing. */
export const SEAM_MS = 400;

/** Reads a stream of a timeline; what no gap explains becomes a hole without a cause. */
export function coverageOf(stream: Timeline['streams'][number], from: number, to: number): Coverage {
  const spans = joined(
    stream.spans.map((s) => ({ start: Date.parse(s.start), end: Date.parse(s.end) })).sort(byStart),
  );
  const away: Hole[] = stream.at_edge.map((s) => ({
    start: Date.parse(s.start),
    end: Date.parse(s.end),
    cause: null,
    detail: null,
    pending: false,
    atEdge: true,
  }));
  const gaps: Hole[] = stream.gaps.map((g) => ({
    start: Date.parse(g.start),
    end: g.end === null ? null : Date.parse(g.end),
    cause: g.cause,
    detail: g.detail,
    pending: g.pending ?? false,
  }));
  const named = [...away, ...gaps].sort(byStart);
  const holes: Hole[] = [];
  for (const open of complement(spans, from, to)) {
    let at = open.start;
    for (const gap of named) {
      const [start, end] = [Math.max(gap.start, at), Math.min(gap.end ?? open.end, open.end)];
      if (end - start <= 0) continue;
      if (start - at > SEAM_MS) holes.push(unexplained(at, start));
      holes.push({ ...gap, start: start - at > SEAM_MS ? start : at, end });
      at = end;
    }
    if (open.end - at > SEAM_MS) holes.push(unexplained(at, open.end));
  }
  return { streamId: stream.stream_id, viewpoint: stream.viewpoint, spans, holes };
}

/** The hole that a moment lies in, null where there is footage. */
export function holeAt(coverage: Coverage, wall: number): Hole | null {
  return coverage.holes.find((h) => wall >= h.start && (h.end === null || wall < h.end)) ?? null;
}

/** The hole that a moment lies in, or right before: what plays may end a little earlier than what was recorded. */
export function holeFrom(coverage: Coverage, wall: number): Hole | null {
  return (
    holeAt(coverage, wall) ?? coverage.holes.find((h) => h.start > wall && h.start - wall <= SEAM_MS) ?? null
  );
}

/** Whether a moment was recorded. */
export function isCovered(coverage: Coverage, wall: number): boolean {
  return coverage.spans.some((s) => wall >= s.start && wall < s.end);
}

/** The first moment at or after another at which any of the streams has footage. */
export function nextCovered(coverages: Coverage[], wall: number): number | null {
  const starts = coverages.flatMap((c) => {
    const span = c.spans.find((s) => wall < s.end);
    return span ? [Math.max(wall, span.start)] : [];
  });
  return starts.length > 0 ? Math.min(...starts) : null;
}

function byStart(a: { start: number }, b: { start: number }): number {
  return a.start - b.start;
}

function joined(spans: Covered[]): Covered[] {
  const result: Covered[] = [];
  for (const span of spans) {
    const last = result.at(-1);
    if (last && span.start - last.end <= SEAM_MS) last.end = Math.max(last.end, span.end);
    else result.push({ ...span });
  }
  return result;
}

function complement(spans: Covered[], from: number, to: number): Covered[] {
  const open: Covered[] = [];
  let at = from;
  for (const span of spans) {
    if (span.start - at > SEAM_MS) open.push({ start: at, end: Math.min(span.start, to) });
    at = Math.max(at, span.end);
  }
  if (to - at > SEAM_MS) open.push({ start: at, end: to });
  return open;
}

function unexplained(start: number, end: number): Hole {
  return { start, end, cause: null, detail: null, pending: false };
}
