/** The counters as the server tells of them while they change. */
import { urls } from '../api/client';
import type { Counter } from '../api/types';
import { session } from '../session.svelte';
import { orderWall } from './order';

const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 15_000;

export class LiveCounters {
  byId = $state.raw(new Map<string, Counter>());
  order = $state.raw<string[]>([]);
  /** True once the first snapshot is here. */
  known = $state(false);
  /** Since when the server has been silent, null while it speaks. */
  lostAt = $state<number | null>(null);
  /** While somebody points at the wall, tiles keep their places. */
  held = $state(false);
  #source: EventSource | null = null;
  #retry = 0;
  #delay = FIRST_RETRY_MS;

  open() {
    const source = new EventSource(urls.liveState);
    this.#source = source;
    source.addEventListener('snapshot', (event) => {
      const { counters } = JSON.parse(event.data as string) as { counters: Counter[] };
      this.byId = new Map(counters.map((c) => [c.counter_id, c]));
      this.known = true;
      this.#heard();
      this.sort();
    });
    source.addEventListener('counter', (event) => {
      const counter = JSON.parse(event.data as string) as Counter;
      this.byId = new Map(this.byId).set(counter.counter_id, counter);
      this.#heard();
      this.sort();
    });
    source.onerror = () => {
      this.lostAt ??= Date.now();
      // The browser's own retry gives up after some answers and knows no sign-out.
      source.close();
      this.#retry = window.setTimeout(() => {
        void session.ask().then(() => session.me && this.open());
      }, this.#delay);
      this.#delay = Math.min(this.#delay * 2, LAST_RETRY_MS);
    };
  }

  close() {
    clearTimeout(this.#retry);
    this.#source?.close();
  }

  sort() {
    if (this.held) return;
    const ranked = [...this.byId.values()].map((c) => ({ ...c, urgency: c.live.urgency }));
    this.order = orderWall(this.order, ranked);
  }

  #heard() {
    this.lostAt = null;
    this.#delay = FIRST_RETRY_MS;
  }
}
