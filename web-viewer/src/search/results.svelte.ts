/** The pages of results of one search. */
import { api, Problem, type InteractionQuery } from '../api/client';
import type { Interaction, Understood } from '../api/types';

export class Results {
  items = $state.raw<Interaction[]>([]);
  understood = $state.raw<Understood[]>([]);
  cursor = $state<string | null>(null);
  loading = $state(true);
  problem = $state.raw<Problem | null>(null);
  #query: InteractionQuery = {};
  #abort = new AbortController();

  /** Starts over with other conditions. */
  start(query: InteractionQuery) {
    this.#query = query;
    this.cursor = null;
    this.problem = null;
    void this.#load([]);
  }

  more() {
    if (!this.loading && this.cursor !== null) void this.#load(this.items);
  }

  again() {
    void this.#load(this.cursor === null ? [] : this.items);
  }

  async #load(before: Interaction[]) {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.loading = true;
    this.problem = null;
    if (before.length === 0) this.items = [];
    try {
      const page = await api.interactions(
        { ...this.#query, ...(before.length > 0 && this.cursor ? { cursor: this.cursor } : {}) },
        this.#abort.signal,
      );
      this.items = [...before, ...page.items];
      this.cursor = page.next_cursor;
      if (before.length === 0) this.understood = page.understood;
      this.loading = false;
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === 'AbortError') return;
      this.loading = false;
      if (!(cause instanceof Problem)) throw cause;
      this.problem = cause;
    }
  }
}
