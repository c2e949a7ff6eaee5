/** Ten minutes of sample footage made with ffmpeg in a temporary folder, repeated over all time. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { awayOf, gapsOf } from './world.ts';

const folder = join(tmpdir(), 'minhquay-mock-media');
const walking = '/usr/share/doc/opencv-doc/examples/data/vtest.avi';

interface Sample {
  file: string;
  map: { offset: number; size: number };
  pieces: { duration: number; offset: number; size: number }[];
}

function make(name: string, input: string[], audio: boolean): Sample {
  mkdirSync(folder, { recursive: true });
  const playlist = join(folder, `${name}.m3u8`);
  if (!existsSync(playlist)) {
    const sound = audio
      ? ['-f', 'lavfi', '-i', 'sine=f=220:r=48000,tremolo=f=3:d=0.9,volume=0.2', '-c:a', 'aac', '-b:a', '64k']
      : [];
    execFileSync(
      'ffmpeg',
      // prettier-ignore
      ['-y', '-loglevel', 'error', ...input, ...sound.slice(0, 4), '-t', '160', '-vf', 'scale=960:720,crop=960:540,fps=25,format=yuv420p',
        '-c:v', 'libx264', '-preset', 'veryfast', '-crf', '28', '-g', '50', '-keyint_min', '50', '-sc_threshold', '0', '-bf', '0',
        ...sound.slice(4), '-f', 'hls', '-hls_time', '2', '-hls_list_size', '0', '-hls_playlist_type', 'vod',
        '-hls_segment_type', 'fmp4', '-hls_flags', 'single_file', '-hls_segment_filename', join(folder, `${name}.mp4`), playlist],
    );
  }
  const pieces: Sample['pieces'] = [];
  let map = { offset: 0, size: 0 };
  let duration = 0;
  for (const line of readFileSync(playlist, 'utf8').split('\n')) {
    const range = /BYTERANGE[:="]+(\d+)@(\d+)/.exec(line);
    if (line.startsWith('#EXTINF')) duration = Number.parseFloat(line.slice(8));
    else if (range && line.startsWith('#EXT-X-MAP'))
      map = { size: Number(range[1]), offset: Number(range[2]) };
    else if (range) pieces.push({ duration, size: Number(range[1]), offset: Number(range[2]) });
  }
  // The last piece may be short; all others are two seconds, which the grid below relies on.
  return { file: join(folder, `${name}.mp4`), map, pieces: pieces.slice(0, -1) };
}

let samples: { front: Sample; desk: Sample } | undefined;

export function sampleOf(streamId: string): Sample {
  samples ??= {
    front: make(
      'front',
      existsSync(walking)
        ? ['-stream_loop', '-1', '-i', walking]
        : ['-f', 'lavfi', '-i', 'testsrc2=s=1280x720:r=25'],
      true,
    ),
    desk: make('desk', ['-f', 'lavfi', '-i', 'testsrc=s=1280x720:r=25'], false),
  };
  return streamId.includes('.desk.') ? samples.desk : samples.front;
}

const PIECE_MS = 2000;

/** A playlist over wall time; null if nothing was recorded. */
export function playlist(streamId: string, from: number, to: number): string | null {
  const sample = sampleOf(streamId);
  const gaps = gapsOf(streamId, from, to)
    .map((g) => ({
      start: Date.parse(g.start),
      end: g.end === null ? Infinity : Date.parse(g.end),
    }))
    .concat(awayOf(streamId, from, to));
  const kind = streamId.includes('.desk.') ? 'desk' : 'front';
  const lines: string[] = [];
  let before = Number.NaN;
  for (let slot = Math.floor(from / PIECE_MS); slot * PIECE_MS < to; slot++) {
    const start = slot * PIECE_MS;
    if (gaps.some((g) => start + PIECE_MS > g.start && start < g.end)) continue;
    const index = slot % sample.pieces.length;
    if (lines.length > 0 && (slot !== before + 1 || index === 0)) lines.push('#EXT-X-DISCONTINUITY');
    const piece = sample.pieces[index]!;
    lines.push(
      `#EXT-X-PROGRAM-DATE-TIME:${new Date(start).toISOString()}`,
      `#EXTINF:${(PIECE_MS / 1000).toFixed(6)},`,
      `#EXT-X-BYTERANGE:${piece.size}@${piece.offset}`,
      `/api/v1/segments/${kind}/media.mp4`,
    );
    before = slot;
  }
  if (lines.length === 0) return null;
  return [
    '#EXTM3U',
    '#EXT-X-VERSION:7',
    '#EXT-X-TARGETDURATION:2',
    '#EXT-X-PLAYLIST-TYPE:VOD',
    `#EXT-X-MAP:URI="/api/v1/segments/${kind}/media.mp4",BYTERANGE="${sample.map.size}@${sample.map.offset}"`,
    ...lines,
    '#EXT-X-ENDLIST',
    '',
  ].join('\n');
}

const stills = new Map<string, Buffer>();

export function still(streamId: string, at: number, width: number): Buffer {
  const sample = sampleOf(streamId);
  const second = Math.floor((at / 10_000) % Math.floor(sample.pieces.length / 5)) * 10;
  const key = `${sample.file} ${second} ${width}`;
  const known = stills.get(key);
  if (known) return known;
  const jpeg = execFileSync('ffmpeg', [
    // prettier-ignore
    ...['-loglevel', 'error', '-ss', String(second), '-i', sample.file, '-frames:v', '1', '-vf', `scale=${width}:-2`],
    ...['-q:v', '5', '-f', 'mjpeg', '-'],
  ]);
  stills.set(key, jpeg);
  return jpeg;
}
