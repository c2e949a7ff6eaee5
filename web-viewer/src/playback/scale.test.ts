import { describe, expect, it } from 'vitest';
import { around, follow, LONGEST_MS, pan, SHORTEST_MS, snap, ticks, toMoment, toX, zoom } from './scale';

const T = Date.parse('2026-11-23T02:00:00Z');
const view = { from: T, to: T + 600_000 };

describe('timeline scale', () => {
  it('maps moments to pixels and back', () => {
    expect(toX(view, 1200, T + 150_000)).toBe(300);
    expect(toMoment(view, 1200, 300)).toBe(T + 150_000);
  });

  it('keeps the moment under the pointer while zooming', () => {
    const anchor = T + 150_000;
    for (const factor of [0.5, 0.9, 1.3, 4]) {
      const zoomed = zoom(view, factor, anchor);
      expect(toX(zoomed, 1200, anchor)).toBeCloseTo(300, 6);
      expect(zoomed.to - zoomed.from).toBeCloseTo(600_000 * factor, 3);
    }
  });

  it('stops at ten seconds and at one day', () => {
    const near = zoom(view, 1e-6, T);
    const far = zoom(view, 1e6, T);
    expect(near.to - near.from).toBe(SHORTEST_MS);
    expect(far.to - far.from).toBe(LONGEST_MS);
  });

  it('turns the page only when the moment has left it', () => {
    expect(follow(view, T + 599_000)).toBe(view);
    const turned = follow(view, T + 601_000);
    expect(toX(turned, 800, T + 601_000)).toBeCloseTo(100, 6);
    expect(follow(view, T - 1000).to).toBeGreaterThan(T - 1000);
  });

  it('labels round moments of the zone, far enough apart', () => {
    const { moments, step } = ticks(view, 1200, 90);
    expect(step).toBe(60_000);
    expect(moments[0]).toBe(T);
    const day = ticks({ from: T, to: T + LONGEST_MS }, 900, 90);
    expect(day.step).toBe(3 * 3_600_000);
    for (const m of day.moments) expect(new Date(m + 7 * 3_600_000).getUTCHours() % 3).toBe(0);
  });

  it('snaps to the nearest event in reach and to nothing beyond', () => {
    const events = [T + 100_000, T + 103_000];
    expect(snap(view, 1200, T + 102_000, events, 6)).toBe(T + 103_000);
    expect(snap(view, 1200, T + 110_000, events, 6)).toBe(T + 110_000);
  });

  it('leaves room around a stretch, however short', () => {
    expect(around(T, T + 100_000)).toEqual({ from: T - 15_000, to: T + 115_000 });
    expect(around(T, T)).toEqual({ from: T - 5000, to: T + 5000 });
    expect(pan(view, -1000).to).toBe(T + 599_000);
  });
});
