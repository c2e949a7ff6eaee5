/** Receiving one stream live over WebRTC (WHEP, draft-ietf-wish-whep). */
import { urls } from '../api/client';

const GATHERING_MS = 400;

/** The server refused, or no picture came. */
export class NoLive extends Error {}

export interface LiveConnection {
  close(): void;
}

/** Connects, hands over the media as they come, and tells once when the connection breaks. */
export async function watch(
  streamId: string,
  onMedia: (media: MediaStream) => void,
  onLost: () => void,
  signal: AbortSignal,
): Promise<LiveConnection> {
  const peer = new RTCPeerConnection();
  let session: string | null = null;
  const close = () => {
    peer.close();
    if (session) void fetch(session, { method: 'DELETE', keepalive: true }).catch(() => {});
    session = null;
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    const video = peer.addTransceiver('video', { direction: 'recvonly' });
    peer.addTransceiver('audio', { direction: 'recvonly' });
    preferH264(video);
    const media = new MediaStream();
    peer.ontrack = ({ track }) => {
      media.addTrack(track);
      onMedia(media);
    };
    peer.onconnectionstatechange = () => {
      if (peer.connectionState === 'failed' || peer.connectionState === 'disconnected') onLost();
    };
    await peer.setLocalDescription();
    await gathered(peer);
    const answer = await fetch(urls.whep(streamId), {
      method: 'POST',
      headers: { 'content-type': 'application/sdp' },
      body: peer.localDescription?.sdp ?? '',
      signal,
    });
    if (answer.status !== 201) throw new NoLive(`answered ${answer.status}`);
    const location = answer.headers.get('location');
    if (location) session = new URL(location, answer.url).href;
    await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
    return { close };
  } catch (cause) {
    close();
    throw cause;
  }
}

/** The archive is H.264, and so is live: no other codec is worth negotiating. */
function preferH264(video: RTCRtpTransceiver) {
  const codecs = RTCRtpReceiver.getCapabilities('video')?.codecs ?? [];
  const wanted = codecs.filter((c) => c.mimeType === 'video/H264' || c.mimeType === 'video/rtx');
  if (wanted.some((c) => c.mimeType === 'video/H264')) video.setCodecPreferences(wanted);
}

/** Candidates of this machine come at once; waiting longer for others would delay the picture. */
function gathered(peer: RTCPeerConnection): Promise<void> {
  if (peer.iceGatheringState === 'complete') return Promise.resolve();
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, GATHERING_MS);
    peer.addEventListener('icegatheringstatechange', () => {
      if (peer.iceGatheringState !== 'complete') return;
      clearTimeout(timer);
      resolve();
    });
  });
}
