/**
 * Between a player's media time and wall time.
 *
 * A playlist is played without pauses, so its media time runs on where wall time jumps over a gap.
 * Media time is in seconds, wall time in milliseconds since 1970.
 */

/** One piece of a playlist with the wall time of its first picture. */
export interface Piece {
  mediaStart: number;
  duration: number;
  wallStart: number;
}

/** Pieces that follow each other without a gap, in media and in wall time. */
export interface MappedSpan {
  mediaStart: number;
  mediaEnd: number;
  wallStart: number;
  wallEnd: number;
}

/** Wall times closer than this belong together: rounding of times, not missing pictures. */
const TOLERANCE_MS = 150;

export class WallMap {
  readonly spans: MappedSpan[] = [];

  constructor(pieces: Piece[]) {
    for (const { mediaStart, duration, wallStart } of pieces) {
      const wallEnd = wallStart + duration * 1000;
      const last = this.spans.at(-1);
      if (last && Math.abs(wallStart - last.wallEnd) <= TOLERANCE_MS && mediaStart >= last.mediaStart) {
        last.mediaEnd = mediaStart + duration;
        last.wallEnd = wallEnd;
      } else {
        this.spans.push({ mediaStart, mediaEnd: mediaStart + duration, wallStart, wallEnd });
      }
    }
  }

  /** Which span shows a media position; the nearest, for positions outside. -1 if there is none. */
  spanAt(media: number): number {
    let found = 0;
    while (found + 1 < this.spans.length && this.spans[found + 1]!.mediaStart <= media + 1e-3) found += 1;
    return this.spans.length === 0 ? -1 : found;
  }

  /** Wall time of a media position, null if nothing is mapped. */
  toWall(media: number): number | null {
    const span = this.spans[this.spanAt(media)];
    return span ? span.wallStart + (media - span.mediaStart) * share(span) * 1000 : null;
  }

  /** Media position of a wall time, null where nothing was recorded. */
  toMedia(wall: number): number | null {
    const span = this.spans.find((s) => wall >= s.wallStart && wall < s.wallEnd);
    return span ? span.mediaStart + (wall - span.wallStart) / 1000 / share(span) : null;
  }

  /** The first moment at or after a wall time that was recorded. */
  nextWall(wall: number): number | null {
    const span = this.spans.find((s) => wall < s.wallEnd);
    return span ? Math.max(wall, span.wallStart) : null;
  }
}

/** Wall seconds per media second; differs from 1 by the slew of the recorder's clock. */
function share(span: MappedSpan): number {
  const media = span.mediaEnd - span.mediaStart;
  return media > 0 ? (span.wallEnd - span.wallStart) / 1000 / media : 1;
}
