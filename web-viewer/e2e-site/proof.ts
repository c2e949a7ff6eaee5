/** What a video element really shows and sounds like: the marks of the proof pattern, and the level of decoded sound. */
import { expect, type Locator } from '@playwright/test';

/** What a frame of the proof pattern says about itself. */
export interface Mark {
  number: number;
  /** When it was taken, in milliseconds since 1970. */
  wall: number;
}

const MAGIC = 0b1011_0010n;

/** Reads the frame on show: 128 cells in the upper half, as `tests/src/proof/picture.rs` draws them. */
export async function readMark(video: Locator): Promise<Mark | null> {
  const bits = await video.evaluate((element) => {
    const [columns, rows] = [32, 8];
    const canvas = document.createElement('canvas');
    [canvas.width, canvas.height] = [320, 160];
    const context = canvas.getContext('2d', { willReadFrequently: true });
    if (!context) return '';
    context.drawImage(element as HTMLVideoElement, 0, 0, canvas.width, canvas.height);
    const [width, height] = [canvas.width / columns, canvas.height / rows];
    let bits = '';
    for (let i = 0; i < 128; i++) {
      const [column, row] = [i % columns, Math.floor(i / columns)];
      // The middle of a cell, so that blur at its edges does not matter.
      const { data } = context.getImageData(
        Math.round((column + 0.25) * width),
        Math.round((row + 0.25) * height),
        Math.round(width / 2),
        Math.round(height / 2),
      );
      let sum = 0;
      for (let at = 0; at < data.length; at += 4) sum += data[at]!;
      bits += sum / (data.length / 4) > 127 ? '1' : '0';
    }
    return bits;
  });
  const all = bits === '' ? 0n : BigInt(`0b${bits}`);
  const body = (all >> 24n) & ((1n << 96n) - 1n);
  const isWhole =
    all >> 120n === MAGIC && ((all >> 8n) & 0xffffn) === crc(body) && (all & 0xffn) === (~MAGIC & 0xffn);
  return isWhole ? { number: Number(body >> 64n), wall: Number(BigInt.asIntN(64, body)) / 1000 } : null;
}

/** CRC-16/CCITT-FALSE over 96 bits. */
function crc(body: bigint): bigint {
  let crc = 0xffffn;
  for (let bit = 95n; bit >= 0n; bit--) {
    const top = ((crc >> 15n) ^ (body >> bit)) & 1n;
    crc = ((crc << 1n) & 0xffffn) ^ (top === 1n ? 0x1021n : 0n);
  }
  return crc;
}

/** The mark on show, once one can be read. */
export async function mark(video: Locator): Promise<Mark> {
  let found: Mark | null = null;
  await expect(async () => {
    found = await readMark(video);
    expect(found, 'no mark can be read').not.toBeNull();
  }).toPass({ timeout: 15_000, intervals: [50] });
  return found!;
}

/** Waits until the picture has moved on by a number of frames. */
export async function expectFrames(video: Locator, count: number) {
  const first = await mark(video);
  await expect(async () => {
    expect((await mark(video)).number).toBeGreaterThanOrEqual(first.number + count);
  }).toPass({ timeout: 20_000, intervals: [100] });
}

/** The loudest sample of the next seconds, 0 to 1; the pattern beeps once a second. */
export async function loudest(video: Locator, seconds: number): Promise<number> {
  return video.evaluate(async (element, seconds) => {
    const player = element as HTMLVideoElement & { captureStream(): MediaStream };
    const media = (player.srcObject as MediaStream | null) ?? player.captureStream();
    const context = new AudioContext();
    await context.resume();
    const analyser = context.createAnalyser();
    analyser.fftSize = 4096;
    context.createMediaStreamSource(media).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    let loudest = 0;
    for (const end = performance.now() + seconds * 1000; performance.now() < end;) {
      await new Promise((resolve) => setTimeout(resolve, 40));
      analyser.getFloatTimeDomainData(samples);
      for (const sample of samples) loudest = Math.max(loudest, Math.abs(sample));
    }
    await context.close();
    return loudest;
  }, seconds);
}
