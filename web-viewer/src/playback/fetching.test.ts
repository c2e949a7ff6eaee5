import { describe, expect, it } from 'vitest';
import { stretchToFetch } from './fetching.svelte';

const hole = (start: number, end: number | null) => ({
  start,
  end,
  cause: null,
  detail: null,
  pending: false,
  atEdge: true,
});

describe('what to fetch', () => {
  it('is the interaction with a little around it, as far as the recorder alone has it', () => {
    expect(stretchToFetch(hole(0, 10_000_000), 1_050_000, 1_000_000, 1_200_000)).toEqual({
      start: 985_000,
      end: 1_215_000,
    });
    expect(stretchToFetch(hole(1_040_000, 1_100_000), 1_050_000, 1_000_000, 1_200_000)).toEqual({
      start: 1_040_000,
      end: 1_100_000,
    });
  });

  it('is some minutes around a moment elsewhere, never days', () => {
    expect(stretchToFetch(hole(0, 1e12), 5_000_000, 1_000_000, 1_200_000)).toEqual({
      start: 4_985_000,
      end: 5_300_000,
    });
  });
});
