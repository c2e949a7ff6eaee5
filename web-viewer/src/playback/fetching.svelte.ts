/** Footage on its way from a recorder: asked for, followed until it is here. */
import { api, Problem } from '../api/client';
import type { Fetch } from '../api/types';
import type { Covered, Hole } from './coverage';

/** A stretch of a stream. */
export interface Wanted extends Covered {
  streamId: string;
}

const EVERY_MS = 1000;
/** Of what is not an interaction, so much is fetched around the moment shown. */
const BEFORE_MS = 15_000;
const AFTER_MS = 300_000;

/** What to fetch of a hole: the interaction if the moment is in it, else some minutes around the moment. */
export function stretchToFetch(hole: Hole, wall: number, start: number, end: number | null): Covered {
  const last = end ?? Date.now();
  const isInside = wall >= start - BEFORE_MS && wall <= last;
  const from = isInside ? start - BEFORE_MS : wall - BEFORE_MS;
  const to = isInside ? last + BEFORE_MS : wall + AFTER_MS;
  return { start: Math.max(from, hole.start), end: Math.min(to, hole.end ?? Date.now()) };
}

export class Fetching {
  /** How far each stream has come; empty while nothing is fetched. */
  fetches = $state.raw<Fetch[]>([]);
  problem = $state.raw<Problem | null>(null);
  readonly isBusy = $derived(this.fetches.some((f) => f.state === 'waiting' || f.state === 'on_its_way'));
  readonly isWaiting = $derived(this.fetches.some((f) => f.state === 'waiting'));
  readonly hasFailed = $derived(this.fetches.length > 0 && this.fetches.every((f) => f.state === 'failed'));
  readonly bytesDone = $derived(this.fetches.reduce((sum, f) => sum + f.bytes_done, 0));
  readonly bytesTotal = $derived(this.fetches.reduce((sum, f) => sum + f.bytes_total, 0));
  /** Seconds until all is here; null while that can't be said. */
  readonly leftS = $derived(
    this.fetches.reduce<number | null>(
      (most, f) => (f.left_s === null ? most : Math.max(most ?? 0, f.left_s)),
      null,
    ),
  );
  #timer = 0;
  #seen = '';
  #arrived: (covers: (wall: number) => boolean) => void;

  /** `arrived` is told whenever more can be seen. */
  constructor(arrived: (covers: (wall: number) => boolean) => void) {
    this.#arrived = arrived;
  }

  async begin(wanted: Wanted[]) {
    clearTimeout(this.#timer);
    this.problem = null;
    const iso = (ms: number) => new Date(ms).toISOString();
    try {
      this.fetches = await Promise.all(
        wanted.map((w) => api.beginFetch(w.streamId, iso(w.start), iso(w.end))),
      );
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      this.problem = cause;
      return;
    }
    this.#look();
  }

  async cancel() {
    clearTimeout(this.#timer);
    const ids = this.fetches.map((f) => f.fetch_id);
    this.fetches = [];
    // What can't be cancelled comes; that does no harm.
    await Promise.allSettled(ids.map((id) => api.cancelFetch(id)));
  }

  close() {
    clearTimeout(this.#timer);
  }

  #look() {
    const available = this.fetches.flatMap((f) => f.available);
    const seen = JSON.stringify(available);
    if (seen !== this.#seen && available.length > 0) {
      this.#seen = seen;
      this.#arrived((wall) => available.some((s) => wall >= Date.parse(s.start) && wall < Date.parse(s.end)));
    }
    if (this.isBusy) this.#timer = window.setTimeout(() => void this.#ask(), EVERY_MS);
  }

  async #ask() {
    try {
      this.fetches = await Promise.all(this.fetches.map((f) => api.fetchState(f.fetch_id)));
      this.problem = null;
    } catch (cause) {
      if (!(cause instanceof Problem)) throw cause;
      // The line to the server may be back at the next look.
      this.problem = cause;
    }
    this.#look();
  }
}
