/** Which streams of a counter to play. */
import type { Stream } from '../api/types';
import type { PaneSource } from './pane.svelte';

/** One stream per viewpoint, `front` first: the best quality that the browser decodes. */
export function chooseSources(streams: Stream[], canDecode: (codec: string) => boolean): PaneSource[] {
  const viewpoints = [...new Set(streams.map((s) => s.viewpoint))].sort(
    (a, b) => Number(b === 'front') - Number(a === 'front') || a.localeCompare(b),
  );
  return viewpoints.flatMap((viewpoint) => {
    const offered = streams
      .filter((s) => s.viewpoint === viewpoint)
      .sort((a, b) => a.quality.localeCompare(b.quality));
    const chosen = offered.find((s) => s.video_codec === null || canDecode(s.video_codec)) ?? offered[0];
    return chosen ? [{ streamId: chosen.stream_id, viewpoint, hasAudio: chosen.has_audio }] : [];
  });
}

/** Whether this browser's media source decodes a codec in an MP4. */
export function browserDecodes(codec: string): boolean {
  return 'MediaSource' in window && MediaSource.isTypeSupported(`video/mp4; codecs="${codec}"`);
}
