import { describe, expect, it } from 'vitest';
import type { Timeline } from '../api/types';
import { coverageOf, holeAt, holeFrom, isCovered, nextCovered } from './coverage';

const T = Date.parse('2026-11-23T02:00:00Z');
const iso = (s: number) => new Date(T + s * 1000).toISOString();
type TimelineStream = Timeline['streams'][number];

function stream(
  spans: [number, number][],
  gaps: TimelineStream['gaps'] = [],
  away: [number, number][] = [],
): TimelineStream {
  return {
    stream_id: 'q01.front.main',
    viewpoint: 'front',
    quality: 'main',
    has_audio: true,
    spans: spans.map(([start, end]) => ({ start: iso(start), end: iso(end) })),
    at_edge: away.map(([start, end]) => ({ start: iso(start), end: iso(end) })),
    gaps,
  };
}

const gap = (
  start: number,
  end: number | null,
  cause: 'camera_offline' | 'disk_full' | null,
  pending = false,
) => ({
  gap_id: null,
  start: iso(start),
  end: end === null ? null : iso(end),
  cause,
  detail: null,
  pending,
});

describe('coverage', () => {
  it('finds the gap that begins right after a moment, as where a playlist ends a little early', () => {
    const c = coverageOf(stream([[0, 60]], [gap(60, 102, 'camera_offline')]), T, T + 102_000);
    expect(holeFrom(c, T + 59_950)).toMatchObject({ cause: 'camera_offline', start: T + 60_000 });
    expect(holeFrom(c, T + 80_000)).toMatchObject({ cause: 'camera_offline' });
    expect(holeFrom(c, T + 59_000)).toBeNull();
  });

  it('tells what only the recorder has from a gap', () => {
    const c = coverageOf(stream([[0, 60]], [gap(120, 180, 'camera_offline')], [[60, 120]]), T, T + 180_000);
    expect(holeAt(c, T + 61_000)).toMatchObject({ atEdge: true, start: T + 60_000, end: T + 120_000 });
    expect(holeAt(c, T + 121_000)).toMatchObject({ cause: 'camera_offline' });
    expect(holeAt(c, T + 121_000)?.atEdge).toBeFalsy();
    expect(isCovered(c, T + 61_000)).toBe(false);
  });

  it('finds the gap and its cause at a moment', () => {
    const c = coverageOf(
      stream(
        [
          [0, 60],
          [102, 200],
        ],
        [gap(60, 102, 'camera_offline')],
      ),
      T,
      T + 200_000,
    );
    expect(holeAt(c, T + 80_000)).toMatchObject({ cause: 'camera_offline', end: T + 102_000 });
    expect(holeAt(c, T + 30_000)).toBeNull();
    expect(isCovered(c, T + 102_000)).toBe(true);
    expect(isCovered(c, T + 60_000)).toBe(false);
  });

  it('keeps several causes within one stretch apart', () => {
    const c = coverageOf(
      stream(
        [
          [0, 10],
          [40, 50],
        ],
        [gap(10, 20, 'camera_offline'), gap(20, 40, 'disk_full')],
      ),
      T,
      T + 50_000,
    );
    expect(c.holes.map((h) => h.cause)).toEqual(['camera_offline', 'disk_full']);
  });

  it('invents no cause for what no gap explains', () => {
    const c = coverageOf(
      stream(
        [
          [0, 10],
          [40, 50],
        ],
        [gap(10, 20, 'camera_offline')],
      ),
      T,
      T + 50_000,
    );
    expect(c.holes).toHaveLength(2);
    expect(holeAt(c, T + 30_000)).toMatchObject({ cause: null, start: T + 20_000, end: T + 40_000 });
  });

  it('cuts a gap that is still open at the end of the window', () => {
    const c = coverageOf(stream([[0, 10]], [gap(10, null, null, true)]), T, T + 50_000);
    expect(holeAt(c, T + 49_000)).toMatchObject({ pending: true, end: T + 50_000 });
  });

  it('takes seams between runs for footage', () => {
    const c = coverageOf(
      stream([
        [0, 10],
        [10.3, 20],
      ]),
      T,
      T + 20_000,
    );
    expect(c.spans).toHaveLength(1);
    expect(c.holes).toHaveLength(0);
  });

  it('goes on at the first footage of any stream', () => {
    const front = coverageOf(
      stream([
        [0, 10],
        [60, 80],
      ]),
      T,
      T + 80_000,
    );
    const desk = coverageOf(
      stream([
        [0, 10],
        [30, 80],
      ]),
      T,
      T + 80_000,
    );
    expect(nextCovered([front, desk], T + 15_000)).toBe(T + 30_000);
    expect(nextCovered([front], T + 15_000)).toBe(T + 60_000);
    expect(nextCovered([front], T + 90_000)).toBeNull();
  });
});
