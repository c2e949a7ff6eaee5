/** One interaction with its counter's streams and timeline, loaded and ready to play. */
import { api, Problem } from '../api/client';
import type { Counter, Interaction, InteractionDetail, Timeline } from '../api/types';
import { coverageOf, type Coverage } from '../playback/coverage';
import type { PaneSource } from '../playback/pane.svelte';
import { Playback } from '../playback/playback.svelte';
import { toMs } from '../time/format';

/** How much of the counter's time around the interaction is loaded. */
const MARGIN_MS = 15 * 60_000;
/** Footage on its way is looked for this often. */
const CHECK_MS = 15_000;

/** What an interaction is played from; null while the counter shows none. */
export function sourcesOf(counter: Counter): PaneSource[] {
  const playable = (codec: string | null) =>
    codec === null || MediaSource.isTypeSupported(`video/mp4; codecs="${codec}"`);
  const viewpoints = [...new Set(counter.streams.map((s) => s.viewpoint))];
  viewpoints.sort((a, b) => Number(b === 'front') - Number(a === 'front'));
  return viewpoints.flatMap((viewpoint) => {
    const streams = counter.streams.filter((s) => s.viewpoint === viewpoint);
    // A browser that cannot show the main stream's codec gets the small one.
    const stream = streams.find((s) => s.quality === 'main' && playable(s.video_codec)) ?? streams.at(-1);
    return stream ? [{ streamId: stream.stream_id, viewpoint, hasAudio: stream.has_audio }] : [];
  });
}

/** The end of an interaction's footage; now, while it is open. */
export function endOf(interaction: Interaction): number {
  return interaction.end === null ? Date.now() : toMs(interaction.end);
}

export class Review {
  readonly playback = new Playback();
  interaction = $state.raw<InteractionDetail | null>(null);
  counter = $state.raw<Counter | null>(null);
  timeline = $state.raw<Timeline | null>(null);
  coverages = $state.raw<Coverage[]>([]);
  problem = $state.raw<Problem | null>(null);
  timelineProblem = $state.raw<Problem | null>(null);
  #turn = 0;
  #check: ReturnType<typeof setTimeout> | undefined;

  /** Loads an interaction and shows a moment of it; its start, if none is given. */
  async open(id: string, at: number | null) {
    const turn = ++this.#turn;
    clearTimeout(this.#check);
    this.problem = null;
    try {
      const interaction = await api.interaction(id);
      if (turn !== this.#turn) return;
      const isSameCounter = this.counter?.counter_id === interaction.counter_id;
      this.interaction = interaction;
      if (!isSameCounter) {
        this.counter = await api.counter(interaction.counter_id);
        if (turn !== this.#turn) return;
        this.playback.use(sourcesOf(this.counter));
      }
      const [start, end] = [toMs(interaction.start), endOf(interaction)];
      await this.#loadTimeline(turn, start - MARGIN_MS, Math.min(end + MARGIN_MS, Date.now()));
      if (turn !== this.#turn) return;
      await this.playback.open(start - 60_000, end + 60_000, at ?? start);
      this.#watch(turn);
    } catch (cause) {
      if (turn === this.#turn)
        this.problem = cause instanceof Problem ? cause : new Problem(0, 'server_error');
    }
  }

  /** Asks again what has arrived, and shows the moment anew. */
  async refresh() {
    const interaction = this.interaction;
    if (!interaction) return;
    const turn = this.#turn;
    const start = toMs(interaction.start);
    await this.#loadTimeline(turn, start - MARGIN_MS, Math.min(endOf(interaction) + MARGIN_MS, Date.now()));
    const { wall } = this.playback;
    await this.playback.open(
      Math.min(start, wall) - 60_000,
      Math.max(endOf(interaction), wall) + 60_000,
      wall,
    );
  }

  destroy() {
    this.#turn += 1;
    clearTimeout(this.#check);
    this.playback.destroy();
  }

  async #loadTimeline(turn: number, from: number, to: number) {
    const id = this.interaction?.counter_id;
    if (!id) return;
    try {
      const timeline = await api.timeline(id, new Date(from).toISOString(), new Date(to).toISOString());
      if (turn !== this.#turn) return;
      this.timeline = timeline;
      this.timelineProblem = null;
      const shown = new Set(this.playback.panes.map((p) => p.source.streamId));
      this.coverages = timeline.streams
        .filter((s) => shown.has(s.stream_id))
        .map((s) => coverageOf(s, from, to));
      this.playback.coverages = this.coverages;
    } catch (cause) {
      if (turn === this.#turn && cause instanceof Problem) this.timelineProblem = cause;
    }
  }

  /** While a hole is shown because footage is on its way, looks again by itself. */
  #watch(turn: number) {
    this.#check = setTimeout(() => {
      if (turn !== this.#turn) return;
      if (this.playback.hole?.pending) void this.refresh();
      this.#watch(turn);
    }, CHECK_MS);
  }
}
