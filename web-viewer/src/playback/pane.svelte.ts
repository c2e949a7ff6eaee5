/** One picture of the player: a video element, its playlist, and where that playlist lies in wall time. */
import type Hls from 'hls.js';
import { urls } from '../api/client';
import { WallMap } from './wall-map';

export interface PaneSource {
  streamId: string;
  viewpoint: string;
  hasAudio: boolean;
}

/** `hole`: nothing was recorded here at the moment shown. */
type PaneState = 'loading' | 'ready' | 'hole' | 'failed';

/** How long a picture lasts until one was measured. */
const FRAME_S = 1 / 25;

export class Pane {
  readonly source: PaneSource;
  state = $state<PaneState>('loading');
  buffering = $state(false);
  map = new WallMap([]);
  /** Which span of the map was shown last. */
  span = -1;
  frameS = FRAME_S;
  video: HTMLVideoElement | null = null;
  #hls: Hls | null = null;
  #load = 0;
  #lastPicture = -1;

  constructor(source: PaneSource) {
    this.source = source;
  }

  /** Svelte attachment for the video element. */
  readonly attach = (video: HTMLVideoElement) => {
    this.video = video;
    const measure: VideoFrameRequestCallback = (_, picture) => {
      const step = picture.mediaTime - this.#lastPicture;
      if (step > 0.005 && step < 0.2) this.frameS = Math.min(step, this.frameS * 1.5);
      this.#lastPicture = picture.mediaTime;
      handle = video.requestVideoFrameCallback(measure);
    };
    let handle = video.requestVideoFrameCallback(measure);
    return () => {
      video.cancelVideoFrameCallback(handle);
      this.destroy();
      this.video = null;
    };
  };

  /** Loads a stretch of wall time; resolves once it can be sought in, or has failed. */
  async load(from: number, to: number, start: number): Promise<void> {
    const turn = ++this.#load;
    this.#hls?.destroy();
    this.#hls = null;
    this.map = new WallMap([]);
    this.span = -1;
    this.state = 'loading';
    const { default: HlsPlayer } = await import('hls.js/light');
    const video = this.video;
    if (turn !== this.#load || !video) return;
    const hls = new HlsPlayer({
      // A worker would be started from a blob, which a strict content policy forbids.
      enableWorker: false,
      autoStartLoad: false,
      maxBufferLength: 45,
      backBufferLength: 90,
      maxBufferHole: 0.5,
    });
    this.#hls = hls;
    await new Promise<void>((resolve) => {
      const { Events, ErrorTypes } = HlsPlayer;
      const redraw = () => {
        const details = hls.levels[0]?.details;
        if (!details) return;
        this.map = new WallMap(
          details.fragments.flatMap((f) =>
            f.programDateTime === null
              ? []
              : [{ mediaStart: f.start, duration: f.duration, wallStart: f.programDateTime }],
          ),
        );
      };
      let isOpen = false;
      hls.on(Events.LEVEL_LOADED, () => {
        redraw();
        // A playlist that grows is loaded again and again.
        if (isOpen) return;
        isOpen = true;
        const at = this.map.nextWall(start);
        hls.startLoad(at === null ? 0 : (this.map.toMedia(at) ?? 0));
        this.state = 'ready';
        resolve();
      });
      hls.on(Events.LEVEL_PTS_UPDATED, redraw);
      let recovered = false;
      hls.on(Events.ERROR, (_, error) => {
        if (!error.fatal) return;
        if (error.type === ErrorTypes.MEDIA_ERROR && !recovered) {
          recovered = true;
          hls.recoverMediaError();
          return;
        }
        this.state = error.response?.code === 404 ? 'hole' : 'failed';
        resolve();
      });
      hls.attachMedia(video);
      hls.loadSource(urls.playlist(this.source.streamId, from, to));
    });
  }

  /** Marks the pane as having nothing to show in the whole window. */
  leaveEmpty() {
    this.destroy();
    this.state = 'hole';
  }

  destroy() {
    this.#load += 1;
    this.#hls?.destroy();
    this.#hls = null;
    this.map = new WallMap([]);
  }
}
