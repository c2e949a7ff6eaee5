/** What the server knows of a counter's time, loaded as the view moves. */
import { api, Problem } from '../api/client';
import type { Interaction, Timeline, TimelineEvent } from '../api/types';
import { coverageOf, type Coverage } from './coverage';
import type { PaneSource } from './pane.svelte';
import type { View } from './scale';

/** The newest footage arrives a while after it was recorded. */
const FRESH_MS = 180_000;

export class CounterTimeline {
  coverages = $state.raw<Coverage[]>([]);
  interactions = $state.raw<Interaction[]>([]);
  events = $state.raw<TimelineEvent[]>([]);
  problem = $state.raw<Problem | null>(null);
  #counterId: string;
  #sources: PaneSource[] = [];
  #loaded: View | null = null;
  #abort = new AbortController();
  #timer = 0;

  constructor(counterId: string) {
    this.#counterId = counterId;
  }

  set sources(sources: PaneSource[]) {
    this.#sources = sources;
  }

  /** Loads a view with as much again on both sides. */
  async load(view: View): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const margin = Math.max(view.to - view.from, 600_000);
    const from = view.from - margin;
    const to = Math.max(from + 1000, Math.min(view.to + margin, Date.now()));
    try {
      const iso = (ms: number) => new Date(ms).toISOString();
      const timeline = await api.timeline(this.#counterId, iso(from), iso(to), this.#abort.signal);
      this.#take(timeline, from, to);
      this.#loaded = { from, to };
      this.problem = null;
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === 'AbortError') return;
      if (!(cause instanceof Problem)) throw cause;
      this.problem = cause;
    }
  }

  /** Loads what a view needs, once it has stood still for a moment. */
  want(view: View) {
    const end = Math.min(view.to, Date.now() - FRESH_MS);
    if (this.#loaded && view.from >= this.#loaded.from && end <= this.#loaded.to) return;
    clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.load(view), 250);
  }

  close() {
    clearTimeout(this.#timer);
    this.#abort.abort();
  }

  #take(timeline: Timeline, from: number, to: number) {
    this.coverages = this.#sources.flatMap((source) => {
      const stream = timeline.streams.find((s) => s.stream_id === source.streamId);
      return stream ? [coverageOf(stream, from, to)] : [];
    });
    this.interactions = timeline.interactions;
    this.events = timeline.events;
  }
}
