import { expect, it } from 'vitest';
import type { Stream } from '../api/types';
import { chooseSources } from './sources';

const stream = (viewpoint: string, quality: 'main' | 'sub', video_codec: string): Stream => ({
  stream_id: `q01.${viewpoint}.${quality}`,
  viewpoint,
  quality,
  video_codec,
  has_audio: viewpoint === 'front',
  audio_codec: null,
  width: null,
  height: null,
  state: 'recording',
  last_sample_age_ms: null,
  since: null,
  fault_cause: null,
  footage_until: null,
});

it('puts the front first and prefers the full picture', () => {
  const streams = [
    stream('desk', 'main', 'avc1'),
    stream('front', 'sub', 'avc1'),
    stream('front', 'main', 'avc1'),
  ];
  expect(chooseSources(streams, () => true).map((s) => s.streamId)).toEqual([
    'q01.front.main',
    'q01.desk.main',
  ]);
});

it('takes the small picture when the browser cannot decode the full one', () => {
  const streams = [stream('front', 'main', 'hvc1.1.6.L120.90'), stream('front', 'sub', 'avc1.64001f')];
  expect(chooseSources(streams, (codec) => codec.startsWith('avc1'))[0]?.streamId).toBe('q01.front.sub');
});
