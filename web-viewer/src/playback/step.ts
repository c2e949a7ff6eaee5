/** Keeping a second picture in step with the first. */

/** What to do with a picture that is `driftMs` ahead (behind, if negative). */
export type Correction = { kind: 'rate'; rate: number } | { kind: 'seek' };

const SEEK_BEYOND_MS = 600;
const LEAVE_WITHIN_MS = 12;
const FASTEST = 16;

/**
 * Small drifts are nudged away by up to a tenth of the speed, so nobody sees a jump; large ones need a seek.
 */
export function correct(driftMs: number, rate: number): Correction {
  const drift = Math.abs(driftMs);
  // At high speed a tenth of the speed is also more milliseconds a second.
  if (drift > SEEK_BEYOND_MS * Math.max(1, rate)) return { kind: 'seek' };
  if (drift <= LEAVE_WITHIN_MS) return { kind: 'rate', rate };
  const strength = Math.min(0.1, drift / 1000);
  const nudged = rate * (driftMs > 0 ? 1 - strength : 1 + strength);
  return { kind: 'rate', rate: Math.min(FASTEST, Math.max(0.0625, nudged)) };
}
