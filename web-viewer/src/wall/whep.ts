/** Receiving one stream live over WebRTC (WHEP, draft-ietf-wish-whep). */
import { urls } from '../api/client';

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
    // The offer goes out before this machine's candidates are known: the server finds them by our own checks.
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
