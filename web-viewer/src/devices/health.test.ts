import { describe, expect, it } from 'vitest';
import type { HealthDay } from '../api/types';
import { verdictOf } from './health';

const day = (changes: Partial<HealthDay['reports'][number]> = {}, isWhole = true): HealthDay => ({
  date: '2026-11-23',
  reports: [
    {
      recorder_id: 'r',
      from: '2026-11-22T17:00:00Z',
      to: '2026-11-23T03:00:00Z',
      is_final: false,
      received: '2026-11-23T03:00:01Z',
      streams: [],
      clock_offset_min_ms: -3,
      clock_offset_max_ms: 4,
      unsynchronized_s: 0,
      disk_free_bytes: 1,
      read_back: true,
      text: '',
      signature: '',
      public_key: '',
      ...changes,
    },
  ],
  retrievals: [{ stream_id: 's', sequence: 1, checked: '', is_whole: isWhole, detail: '' }],
});
const stream = (seconds: number): HealthDay['reports'][number]['streams'][number] => ({
  stream_id: `q01.front.${seconds}`,
  picture_s: 100 + seconds,
  sound_s: 90,
  gap_s: seconds,
  faults: [{ kind: 'lens_covered', seconds, times: 1, detail: '' }],
});

describe('verdictOf', () => {
  it('calls a day without a report and without a retrieval unknown', () => {
    expect(verdictOf({ date: '2026-11-23', reports: [], retrievals: [] }).state).toBe('none');
  });
  it('calls a day fine that has nothing against it, and says how far it goes', () => {
    expect(verdictOf(day())).toMatchObject({
      state: 'ok',
      until: '2026-11-23T03:00:00Z',
      retrieval: 'whole',
    });
  });
  it('counts the longest of two streams of one lens, not their sum', () => {
    const verdict = verdictOf(day({ streams: [stream(10), stream(40)] }));
    expect(verdict.state).toBe('faulty');
    expect(verdict.faults.map((f) => f.seconds)).toEqual([40]);
    expect(verdict.gapSeconds).toBe(40);
  });
  it.each([
    ['a clock that is off', day({ clock_offset_max_ms: 60_000 })],
    ['a disk that gives other bytes', day({ read_back: false })],
    ['footage that cannot be shown again', day({}, false)],
  ])('calls %s a fault', (_, faulty) => {
    expect(verdictOf(faulty).state).toBe('faulty');
  });
});
