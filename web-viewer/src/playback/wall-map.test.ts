import { describe, expect, it } from 'vitest';
import { WallMap } from './wall-map';

const T = Date.parse('2026-11-23T02:00:00Z');
// Four seconds, a gap of 42 s, then four more seconds.
const map = new WallMap([
  { mediaStart: 0, duration: 2, wallStart: T },
  { mediaStart: 2, duration: 2, wallStart: T + 2040 },
  { mediaStart: 4, duration: 4, wallStart: T + 46_000 },
]);

describe('wall map', () => {
  it('joins pieces that follow each other and splits at gaps', () => {
    expect(map.spans).toHaveLength(2);
    expect(map.spans[0]).toMatchObject({ wallStart: T, mediaEnd: 4 });
  });

  it('jumps over the gap in wall time while media time runs on', () => {
    expect(map.toWall(3.9)).toBeCloseTo(T + 3939, 0);
    expect(map.toWall(4)).toBe(T + 46_000);
    expect(map.toWall(5.5)).toBe(T + 47_500);
  });

  it('has no media position inside the gap, and names where footage goes on', () => {
    expect(map.toMedia(T + 20_000)).toBeNull();
    expect(map.nextWall(T + 20_000)).toBe(T + 46_000);
    expect(map.nextWall(T + 47_000)).toBe(T + 47_000);
    expect(map.nextWall(T + 60_000)).toBeNull();
  });

  it('leads there and back', () => {
    for (const wall of [T, T + 1500, T + 3999, T + 46_000, T + 49_000])
      expect(map.toWall(map.toMedia(wall)!)).toBeCloseTo(wall, 3);
  });

  it('knows nothing of an empty playlist', () => {
    const empty = new WallMap([]);
    expect(empty.toWall(1)).toBeNull();
    expect(empty.toMedia(T)).toBeNull();
    expect(empty.nextWall(T)).toBeNull();
  });
});
