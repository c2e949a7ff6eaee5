import { expect, it } from 'vitest';
import { correct } from './step';

it('leaves a picture alone that is in step', () => {
  expect(correct(8, 1)).toEqual({ kind: 'rate', rate: 1 });
});

it('slows what is ahead and hurries what is behind, at most by a tenth', () => {
  expect(correct(50, 1)).toEqual({ kind: 'rate', rate: 0.95 });
  expect(correct(-400, 1)).toEqual({ kind: 'rate', rate: 1.1 });
});

it('seeks when it is far off', () => {
  expect(correct(700, 1).kind).toBe('seek');
  expect(correct(700, 4).kind).toBe('rate');
});

it('brings any small drift under 40 ms within five seconds', () => {
  for (const start of [-500, -90, 60, 500]) {
    let drift = start;
    for (let i = 0; i < 50; i++) {
      const c = correct(drift, 1);
      if (c.kind === 'rate') drift += (c.rate - 1) * 100;
    }
    expect(Math.abs(drift)).toBeLessThan(40);
  }
});
