/** What a day of a counter was like, out of what was reported of it. */
import type { HealthDay, HealthFault } from '../api/types';

/** Beyond this the recorder's clock counts as wrong. */
const CLOCK_OFF_MS = 2000;

export interface Verdict {
  state: 'none' | 'ok' | 'faulty';
  /** How far a day that is not over is reported; null when it is over. */
  until: string | null;
  faults: HealthFault[];
  gapSeconds: number;
  pictureSeconds: number;
  soundSeconds: number;
  isReadBackWrong: boolean;
  /** Whether footage could be retrieved at the centre; null: it was not tried. */
  retrieval: 'whole' | 'failed' | null;
}

export function verdictOf(day: HealthDay): Verdict {
  const streams = day.reports.flatMap((r) => r.streams);
  const faults = new Map<string, HealthFault>();
  for (const fault of streams.flatMap((s) => s.faults)) {
    const same = faults.get(fault.kind);
    // Of several streams the longest counts: one lens may be behind two of them.
    if (!same || same.seconds < fault.seconds) faults.set(fault.kind, fault);
  }
  const most = (seconds: number[]) => Math.max(0, ...seconds);
  const isReadBackWrong = day.reports.some((r) => r.read_back === false);
  const isClockOff = day.reports.some(
    (r) =>
      Math.abs(r.clock_offset_min_ms ?? 0) > CLOCK_OFF_MS ||
      Math.abs(r.clock_offset_max_ms ?? 0) > CLOCK_OFF_MS,
  );
  if (isClockOff) faults.set('clock_off', { kind: 'clock_off', seconds: 0, times: 1, detail: '' });
  const retrieval =
    day.retrievals.length === 0 ? null : day.retrievals.every((r) => r.is_whole) ? 'whole' : 'failed';
  const isFaulty = faults.size > 0 || isReadBackWrong || retrieval === 'failed';
  return {
    state: day.reports.length === 0 && retrieval === null ? 'none' : isFaulty ? 'faulty' : 'ok',
    until: day.reports.find((r) => !r.is_final)?.to ?? null,
    faults: [...faults.values()].toSorted((a, b) => b.seconds - a.seconds),
    gapSeconds: most(streams.map((s) => s.gap_s)),
    pictureSeconds: most(streams.map((s) => s.picture_s)),
    soundSeconds: most(streams.map((s) => s.sound_s)),
    isReadBackWrong,
    retrieval,
  };
}
