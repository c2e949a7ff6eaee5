/** The light build has the same interface without subtitles and separate sound tracks. */
declare module 'hls.js/light' {
  export * from 'hls.js';
  export { default } from 'hls.js';
}
