/** The live picture of a tile, tried again and again while it does not come. */
import { watch } from './whep';

/** `stills`: there is no live picture now; what there is of footage stands in for it. */
type Mode = 'connecting' | 'live' | 'stills';

const FIRST_PICTURE_MS = 6000;
const FROZEN_MS = 8000;
const FIRST_RETRY_MS = 5000;
const LAST_RETRY_MS = 60_000;

/** Decoding many streams at once is too much for an office PC; further tiles show stills. */
const MOST_AT_ONCE = 12;
let connected = 0;

export class LivePicture {
  mode = $state<Mode>('connecting');
  media = $state.raw<MediaStream | null>(null);
  /** When the last picture arrived, by this computer's clock. */
  lastPictureAt = $state<number | null>(null);
  #streamId: string;
  #abort = new AbortController();
  #timers = new Set<number>();
  #delay = FIRST_RETRY_MS;
  #counted = false;

  constructor(streamId: string) {
    this.#streamId = streamId;
  }

  start() {
    this.#every(1000, () => {
      // Pictures of a hidden page are not drawn, so nobody can tell whether they come.
      if (document.hidden) this.lastPictureAt = Date.now();
      const since = Date.now() - (this.lastPictureAt ?? 0);
      if (this.mode === 'live' && since > FROZEN_MS) this.#fallBack();
    });
    void this.#connect();
  }

  stop() {
    this.#abort.abort();
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers.clear();
    this.#release();
    this.media = null;
    this.mode = 'connecting';
  }

  /** The tile's video element showed a picture. */
  seen() {
    this.lastPictureAt = Date.now();
    if (this.mode !== 'live') this.mode = 'live';
    this.#delay = FIRST_RETRY_MS;
  }

  async #connect() {
    if (connected >= MOST_AT_ONCE || !('RTCPeerConnection' in window)) return this.#fallBack();
    connected += 1;
    this.#counted = true;
    const abort = new AbortController();
    this.#abort = abort;
    const lost = () => this.#abort === abort && this.#fallBack();
    try {
      await watch(this.#streamId, (media) => (this.media = media), lost, abort.signal);
      this.#after(FIRST_PICTURE_MS, () => this.mode === 'connecting' && lost());
    } catch {
      // Refused or unreachable: stills are shown and the next try comes later.
      if (!abort.signal.aborted) lost();
    }
  }

  #fallBack() {
    this.#abort.abort();
    this.#release();
    this.media = null;
    this.mode = 'stills';
    this.#after(this.#delay, () => {
      this.mode = 'connecting';
      void this.#connect();
    });
    this.#delay = Math.min(this.#delay * 2, LAST_RETRY_MS);
  }

  #release() {
    if (this.#counted) connected -= 1;
    this.#counted = false;
  }

  #every(ms: number, run: () => void) {
    this.#timers.add(window.setInterval(run, ms));
  }

  #after(ms: number, run: () => void) {
    this.#timers.add(window.setTimeout(run, ms));
  }
}
