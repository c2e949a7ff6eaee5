/** Where the programs under test are, and what a queue system, a scanner and a bad cable do there. */
import { expect, type APIRequestContext } from '@playwright/test';

interface Site {
  /** The centre, `http://127.0.0.1:PORT`. */
  url: string;
  /** Takes events. */
  token: string;
  counter: string;
  /** By role. */
  users: Record<'handler' | 'administrator', { name: string; password: string }>;
  /** Control port of the fake camera: `…/mounts/NAME`. */
  camera: string;
}

export const site = JSON.parse(process.env.MINHQUAY_SITE ?? '{}') as Site;

let sent = 0;

/** Posts one counter event, as an integrator does. */
export async function tell(request: APIRequestContext, type: string, data: object, at = new Date()) {
  const answer = await request.post(`${site.url}/api/v1/events`, {
    headers: { authorization: `Bearer ${site.token}`, 'content-type': 'application/cloudevents+json' },
    data: JSON.stringify({
      specversion: '1.0',
      type,
      source: '/e2e',
      id: `${process.pid}-${++sent}`,
      time: at.toISOString(),
      subject: site.counter,
      data,
    }),
  });
  expect(answer.status()).toBe(202);
  expect(await answer.json()).toMatchObject({ accepted: 1, rejected: [] });
}

/** Does something to the camera, e.g. `{fault: 'hang'}`. */
export async function harmCamera(request: APIRequestContext, fault: object) {
  const answer = await request.post(`${site.camera}/fault`, { data: fault });
  expect(answer.ok()).toBe(true);
}
