/** Which alerts can wait a while, and which mean that evidence is being lost or somebody was treated badly. */
import type { Alert } from '../api/types';

const mild: ReadonlySet<Alert['kind']> = new Set<Alert['kind']>([
  'long_service',
  'long_wait',
  'picture_defocused',
  'sound_clipped',
  'sound_hum',
]);

export const isMild = (alert: Alert) => mild.has(alert.kind);
