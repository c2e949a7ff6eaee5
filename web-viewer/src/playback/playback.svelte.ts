/**
 * Plays the streams of a counter in step over wall time.
 *
 * The first pane that has footage leads: its media time is the clock, the others follow. Where no
 * pane has footage, the hole is shown with its cause and playback goes on behind it.
 */
import { holeFrom, isCovered, nextCovered, SEAM_MS, type Coverage, type Hole } from './coverage';
import { Pane, type PaneSource } from './pane.svelte';
import { correct } from './step';

export const SPEEDS = [0.5, 1, 1.5, 2, 4, 8, 16];

/** How long a hole is shown before playback goes on, in milliseconds. */
const HOLE_SHOWN_MS = 3500;
/** Shorter holes are crossed without a word. */
const HOLE_WORTH_SHOWING_MS = 1000;
const WINDOW_BEFORE_MS = 60_000;
const WINDOW_AFTER_MS = 600_000;
/** A playlist older than this may lack what the timeline knows by now. */
const PLAYLIST_AGE_MS = 5000;

export class Playback {
  panes = $state.raw<Pane[]>([]);
  /** The moment shown. */
  wall = $state(0);
  playing = $state(false);
  rate = $state(1);
  muted = $state(false);
  /** Set while nothing at all was recorded at the moment shown. */
  hole = $state.raw<Hole | null>(null);
  /** When playback goes on behind the hole, by the page's clock; null if it waits for the person. */
  resumesAt = $state<number | null>(null);
  loading = $state(true);
  readonly failed = $derived(this.panes.length > 0 && this.panes.every((p) => p.state === 'failed'));

  #coverages: Coverage[] = [];
  #window = { from: 0, to: 0 };
  #openedAt = 0;
  #leader: Pane | null = null;
  #frame = 0;
  #stopAt: { wall: number; reached: () => void } | null = null;

  /** Names the streams to play; the pictures appear once `open` is called. */
  use(sources: PaneSource[]) {
    this.panes = sources.map((s) => new Pane(s));
  }

  set coverages(coverages: Coverage[]) {
    this.#coverages = coverages;
  }

  /** Pauses once when playback runs over a moment. */
  stopAt(wall: number | null, reached: () => void) {
    this.#stopAt = wall === null ? null : { wall, reached };
  }

  /** Loads a window and shows a moment of it. */
  async open(from: number, to: number, at: number) {
    this.loading = true;
    this.hole = null;
    this.resumesAt = null;
    this.wall = at;
    this.#leader = null;
    this.#window = { from, to };
    this.#openedAt = Date.now();
    await Promise.all(
      this.panes.map((pane) => {
        const coverage = this.#coverages.find((c) => c.streamId === pane.source.streamId);
        const isEmpty = coverage && !coverage.spans.some((s) => s.start < to && s.end > from);
        return isEmpty ? pane.leaveEmpty() : pane.load(from, to, at);
      }),
    );
    if (this.#window.from !== from || this.#window.to !== to) return;
    this.loading = false;
    this.seek(this.wall);
    cancelAnimationFrame(this.#frame);
    this.#frame = requestAnimationFrame(this.#tick);
  }

  destroy() {
    cancelAnimationFrame(this.#frame);
    for (const pane of this.panes) pane.destroy();
  }

  /** Shows a moment; loads another window if it lies outside. */
  seek(wall: number) {
    const wanted = Math.min(wall, Date.now());
    if (this.#isElsewhere(wanted)) {
      void this.open(wanted - WINDOW_BEFORE_MS, wanted + WINDOW_AFTER_MS, wanted);
      return;
    }
    this.wall = wanted;
    if (this.loading) return;
    this.hole = null;
    this.resumesAt = null;
    this.#leader = null;
    for (const pane of this.panes) {
      if (pane.state === 'failed' || pane.state === 'loading') continue;
      const media = pane.map.toMedia(wanted);
      pane.state = media === null ? 'hole' : 'ready';
      if (media === null || !pane.video) {
        pane.video?.pause();
        continue;
      }
      pane.video.currentTime = media;
      pane.span = pane.map.spanAt(media);
      this.#leader ??= pane;
    }
    if (this.#leader === null) this.#enterHole(wanted);
    else this.#apply();
  }

  /** Whether a moment was recorded but is not in what is loaded. */
  #isElsewhere(wall: number): boolean {
    if (wall < this.#window.from || wall >= this.#window.to)
      return this.#coverages.some((c) => isCovered(c, wall));
    const isOld = !this.loading && Date.now() - this.#openedAt > PLAYLIST_AGE_MS;
    return (
      isOld &&
      this.panes.every((p) => p.map.toMedia(wall) === null) &&
      this.#coverages.some((c) => isCovered(c, wall) && isCovered(c, wall + SEAM_MS))
    );
  }

  play() {
    this.playing = true;
    if (this.hole) this.#enterHole(this.wall);
    this.#apply();
  }

  pause() {
    this.playing = false;
    this.resumesAt = null;
    this.#apply();
  }

  toggle() {
    if (this.playing) this.pause();
    else this.play();
  }

  setRate(rate: number) {
    this.rate = Math.min(16, Math.max(0.5, rate));
    this.#apply();
  }

  /** The next faster or slower of the usual speeds. */
  shiftRate(direction: 1 | -1) {
    const next = direction > 0 ? SPEEDS.find((s) => s > this.rate) : SPEEDS.findLast((s) => s < this.rate);
    if (next !== undefined) this.setRate(next);
  }

  toggleMuted() {
    this.muted = !this.muted;
    this.#apply();
  }

  /** One picture on or back. */
  stepFrame(direction: 1 | -1) {
    this.pause();
    this.seek(this.wall + direction * (this.#leader?.frameS ?? 1 / 25) * 1000);
  }

  /** Goes on behind the hole at once. */
  skipHole() {
    const next = this.#nextFootage(this.hole?.start ?? this.wall);
    if (next !== null) this.seek(next);
  }

  get canSkipHole(): boolean {
    return this.#nextFootage(this.hole?.start ?? this.wall) !== null;
  }

  #nextFootage(wall: number): number | null {
    const inMaps = this.panes.flatMap((p) => p.map.nextWall(wall) ?? []);
    const ahead = nextCovered(this.#coverages, wall + SEAM_MS);
    if (ahead !== null) inMaps.push(ahead);
    // Maps are exact, the timeline may be older or end a little later: the earliest of what either knows.
    return inMaps.length > 0 ? Math.min(...inMaps) : null;
  }

  #enterHole(wall: number) {
    this.#leader = null;
    this.wall = wall;
    const next = this.#nextFootage(wall);
    const known = this.#coverages.map((c) => holeFrom(c, wall)).find((h) => h !== null);
    this.hole = known ?? { start: wall, end: next, cause: null, detail: null, pending: false };
    for (const pane of this.panes) {
      pane.video?.pause();
      if (pane.state === 'ready') pane.state = 'hole';
    }
    // What only the recorder has is not passed over: somebody may want to fetch it.
    const goesOn = this.playing && next !== null && !this.hole.atEdge;
    this.resumesAt = goesOn ? Date.now() + HOLE_SHOWN_MS : null;
  }

  /** Brings the elements to what is wanted of them. */
  #apply() {
    const sounding = this.panes.find((p) => p.source.hasAudio && p.state === 'ready');
    for (const pane of this.panes) {
      const video = pane.video;
      if (!video) continue;
      video.muted = this.muted || pane !== sounding;
      video.playbackRate = this.rate;
      const shouldPlay = this.playing && pane.state === 'ready' && !this.hole;
      if (shouldPlay && video.paused) void this.#start(video);
      else if (!shouldPlay && !video.paused) video.pause();
    }
  }

  async #start(video: HTMLVideoElement) {
    try {
      await video.play();
    } catch (cause) {
      // The browser wants a gesture before sound; the large button then asks for it.
      if (cause instanceof DOMException && cause.name === 'NotAllowedError') this.pause();
    }
  }

  readonly #tick = () => {
    this.#frame = requestAnimationFrame(this.#tick);
    if (this.loading) return;
    if (this.hole) {
      // The playlist has grown over the hole.
      if (this.hole.atEdge && this.panes.some((p) => p.map.toMedia(this.wall) !== null)) this.seek(this.wall);
      else if (this.playing && this.resumesAt !== null && Date.now() >= this.resumesAt) this.skipHole();
      return;
    }
    const leader = this.#leader;
    if (!leader?.video) return;
    leader.buffering = this.playing && leader.video.readyState < 3;
    if (this.playing && !leader.video.seeking) this.#advance(leader, leader.video);
    this.#followAll();
  };

  #advance(leader: Pane, video: HTMLVideoElement) {
    const span = leader.map.spanAt(video.currentTime);
    const left = leader.map.spans[leader.span];
    const entered = leader.map.spans[span];
    const jump = left && entered && span > leader.span ? entered.wallStart - left.wallEnd : 0;
    if (left && jump > HOLE_WORTH_SHOWING_MS) return this.#leaveSpan(leader, left.wallEnd);
    const atEnd =
      video.ended ||
      (left && span === leader.map.spans.length - 1 && video.currentTime >= left.mediaEnd - 0.05);
    if (left && atEnd) return this.#leaveSpan(leader, left.wallEnd);
    leader.span = span;
    const wall = leader.map.toWall(video.currentTime);
    if (wall === null) return;
    const stop = this.#stopAt;
    if (stop && this.wall < stop.wall && wall >= stop.wall && wall - this.wall < 2000) {
      this.pause();
      stop.reached();
    }
    this.wall = wall;
  }

  /** The leader's footage ends here: another pane leads on, a further window is loaded, or a hole begins. */
  #leaveSpan(leader: Pane, end: number) {
    const isWindowEnd = end >= this.#window.to - 3000;
    if (isWindowEnd && this.#coverages.some((c) => isCovered(c, end + 500))) {
      void this.open(end - WINDOW_BEFORE_MS, end + WINDOW_AFTER_MS, end + 1);
      return;
    }
    leader.video?.pause();
    leader.state = 'hole';
    const heir = this.panes.find(
      (p) => p !== leader && p.state === 'ready' && p.map.toMedia(end + 100) !== null,
    );
    if (heir?.video) {
      this.#leader = heir;
      heir.span = heir.map.spanAt(heir.video.currentTime);
      this.#apply();
    } else {
      this.#enterHole(end + 1);
    }
  }

  #followAll() {
    for (const pane of this.panes) {
      const video = pane.video;
      if (pane === this.#leader || !video || pane.state === 'failed' || pane.state === 'loading') continue;
      const media = pane.map.toMedia(this.wall);
      if (media === null) {
        if (pane.state === 'ready') {
          pane.state = 'hole';
          video.pause();
        }
        continue;
      }
      if (pane.state === 'hole') {
        pane.state = 'ready';
        video.currentTime = media;
        this.#apply();
        continue;
      }
      if (video.seeking) continue;
      const drift = (video.currentTime - media) * 1000;
      if (!this.playing) {
        if (Math.abs(drift) > 20) video.currentTime = media;
        continue;
      }
      const correction = correct(drift, this.rate);
      if (correction.kind === 'seek') video.currentTime = media;
      else if (Math.abs(video.playbackRate - correction.rate) > 0.004) video.playbackRate = correction.rate;
      const isBefore = this.#leader !== null && this.panes.indexOf(pane) < this.panes.indexOf(this.#leader);
      if (isBefore && Math.abs(drift) < 60 && video.readyState >= 3) {
        this.#leader = pane;
        pane.span = pane.map.spanAt(video.currentTime);
        this.#apply();
      }
    }
  }
}
