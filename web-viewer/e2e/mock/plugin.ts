/** A stand-in for the server inside `MOCK=1 npm run dev`; never part of a build. */
import { createReadStream, statSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Plugin } from 'vite';
import type { components } from '../../src/api/schema.ts';
import { playlist, sampleOf, still } from './media.ts';
import {
  awayOf,
  fetchedUntil,
  fetchFrom,
  gapsOf,
  healthOf,
  interactions,
  places,
  recorders,
  spansOf,
  units,
} from './world.ts';

type S = components['schemas'];
const holds: S['Hold'][] = [];

const fold = (text: string) =>
  text.normalize('NFD').replace(/\p{M}/gu, '').replaceAll('đ', 'd').replaceAll('Đ', 'D').toLowerCase();

function json(res: ServerResponse, body: unknown, status = 200) {
  res.statusCode = status;
  res.setHeader('content-type', status >= 400 ? 'application/problem+json' : 'application/json');
  res.end(JSON.stringify(body));
}

function problem(res: ServerResponse, status: number, code: string, detail = '') {
  json(res, { type: `/problems/${code}`, title: code, status, code, detail }, status);
}

function body(req: IncomingMessage): Promise<string> {
  return new Promise((resolve) => {
    let text = '';
    req.on('data', (part) => (text += part));
    req.on('end', () => resolve(text));
  });
}

function search(query: URLSearchParams) {
  const q = query.get('q') ?? '';
  const words = fold(q).split(/\s+/).filter(Boolean);
  let items = interactions.filter((it) => {
    const text = fold(
      [
        it.ticket?.label,
        it.procedure,
        it.officer?.code,
        it.officer?.name,
        it.counter_name,
        ...it.dossiers.map((d) => d.code),
      ].join(' '),
    );
    return words.every((w) => text.includes(w));
  });
  const from = query.get('from');
  const to = query.get('to');
  const max = query.get('rating_max');
  const counter = query.get('counter');
  if (from) items = items.filter((it) => it.start >= from);
  if (to) items = items.filter((it) => it.start < to);
  if (counter) items = items.filter((it) => it.counter_id === counter);
  if (max) items = items.filter((it) => it.rating && it.rating.percent <= Number(max));
  const offset = Number(query.get('cursor') ?? 0);
  const limit = Number(query.get('limit') ?? 25);
  const understood = words.length
    ? [
        /^[a-z]\d{4}$/.test(words[0]!)
          ? {
              kind: 'ticket',
              value: words[0],
              label: words[0]!.toUpperCase(),
              start: 0,
              end: words[0]!.length,
            }
          : { kind: 'text', value: q, label: q, start: 0, end: Array.from(q).length },
      ]
    : [];
  return {
    items: items.slice(offset, offset + limit),
    next_cursor: offset + limit < items.length ? String(offset + limit) : null,
    understood,
  };
}

const BYTES_A_MS = 500;

function fetchView(id: string): S['Fetch'] {
  const [stream = '', from = 0, to = 0] = id.split('~').map((part, i) => (i === 0 ? part : Number(part))) as [
    string,
    number,
    number,
  ];
  const until = fetchedUntil(stream, from, to);
  const iso = (ms: number) => new Date(ms).toISOString();
  return {
    fetch_id: id,
    stream_id: stream,
    from: iso(from),
    to: iso(to),
    state: until < to ? 'on_its_way' : 'done',
    reason: null,
    bytes_done: (until - from) * BYTES_A_MS,
    bytes_total: (to - from) * BYTES_A_MS,
    available: until > from ? [{ start: iso(from), end: iso(until) }] : [],
    left_s: until > from ? Math.ceil((to - until) / 30_000) : null,
  };
}

function timeline(counterId: string, from: number, to: number) {
  const place = places.find((p) => p.counter.counter_id === counterId)!;
  const within = interactions.filter(
    (it) => it.counter_id === counterId && Date.parse(it.start) < to && Date.parse(it.end ?? '9999') > from,
  );
  return {
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    streams: place.counter.streams.map((s) => ({
      stream_id: s.stream_id,
      viewpoint: s.viewpoint,
      quality: s.quality,
      has_audio: s.has_audio,
      spans: spansOf(s.stream_id, from, to),
      at_edge: awayOf(s.stream_id, from, to).map((a) => ({
        start: new Date(a.start).toISOString(),
        end: new Date(a.end).toISOString(),
      })),
      gaps: gapsOf(s.stream_id, from, to),
    })),
    interactions: within,
    events: within.flatMap((it) =>
      it.events.map((e) => ({
        at: e.at,
        type: e.type,
        ticket: it.ticket,
        interaction_id: it.interaction_id,
        dossier: (e.data.dossier as string) ?? null,
        score: (e.data.score as number) ?? null,
      })),
    ),
  };
}

/** Exports take three seconds; one that asks for five minutes more finds its end missing. */
const exports: (S['Export'] & { asked: number })[] = [];

async function exportsRoom(req: IncomingMessage, res: ServerResponse, id: string, rest?: string) {
  if (req.method === 'POST') {
    const { stream, counter, from, to } = JSON.parse(await body(req)) as S['ExportRequest'];
    const place = places.find((p) => p.counter.counter_id === (counter ?? stream?.split('.')[0]))!;
    if (Date.parse(to) > Date.now() - 60_000) return problem(res, 409, 'not_arrived');
    const streams = stream
      ? [stream]
      : place.counter.streams.filter((s) => s.quality === 'main').map((s) => s.stream_id);
    const one = {
      id: crypto.randomUUID(),
      counter_id: place.counter.counter_id,
      streams,
      from,
      to,
      state: 'waiting' as const,
      progress: 0,
      created_at: new Date().toISOString(),
      expires_at: new Date(Date.now() + 24 * 3_600_000).toISOString(),
      failure: null,
      failure_detail: null,
      file: null,
      content: null,
      asked: Date.now(),
    };
    exports.unshift(one);
    return json(res, exportView(one), 201);
  }
  const index = exports.findIndex((one) => one.id === id);
  if (!id) return json(res, { items: exports.map(exportView) });
  if (index < 0) return problem(res, 404, 'not_found');
  if (req.method === 'DELETE') {
    exports.splice(index, 1);
    res.statusCode = 204;
    return res.end();
  }
  if (rest !== 'file') return json(res, exportView(exports[index]!));
  res.writeHead(200, { 'content-type': 'video/mp4' });
  return createReadStream(sampleOf('x.front.main').file).pipe(res);
}

function exportView({ asked, ...one }: (typeof exports)[number]): S['Export'] {
  const progress = Math.min((Date.now() - asked) / 3000, 1);
  if (progress < 0.1) return one;
  if (progress < 1) return { ...one, state: 'running', progress };
  const name = `${one.counter_id}_20261123-080000.${one.streams.length > 1 ? 'zip' : 'mp4'}`;
  const film = (stream_id: string) => ({
    name: `${stream_id}.mp4`,
    stream_id,
    recorder_id: 'rec',
    from: one.from,
    to: one.to,
    size_bytes: 41_000_000,
    sha256: '0'.repeat(64),
  });
  return {
    ...one,
    state: 'done',
    progress: 1,
    file: {
      name,
      size_bytes: 41_000_000 * one.streams.length,
      sha256: '0'.repeat(64),
      url: `/api/v1/exports/${one.id}/file`,
    },
    content: {
      films: one.streams.map(film),
      holes:
        one.streams.length > 1
          ? [{ stream_id: one.streams[0]!, from: one.from, to: one.to, cause: 'camera_offline' }]
          : [],
    },
  };
}

async function answer(req: IncomingMessage, res: ServerResponse, next: () => void) {
  const url = new URL(req.url ?? '/', 'http://mock');
  if (!url.pathname.startsWith('/api/v1/')) return next();
  const [room, id = '', rest] = url.pathname.slice(8).split('/').map(decodeURIComponent);
  const time = (name: string) => Date.parse(url.searchParams.get(name) ?? '');
  if (room === 'session' && req.method === 'POST') {
    const given = JSON.parse(await body(req)) as { password: string };
    if (given.password !== 'mock') return problem(res, 401, 'bad_credentials');
    res.setHeader('set-cookie', 'minhquay_session=mock; Path=/; HttpOnly; SameSite=Strict');
    res.statusCode = 204;
    return res.end();
  }
  if (room === 'session') {
    res.setHeader('set-cookie', 'minhquay_session=; Path=/; Max-Age=0');
    res.statusCode = 204;
    return res.end();
  }
  if (!req.headers.cookie?.includes('minhquay_session=mock')) return problem(res, 401, 'not_signed_in');
  switch (room) {
    case 'me':
      return json(res, {
        username: 'khieunai',
        display_name: 'Nguyễn Thị Thanh Hương',
        grants: [
          { role: 'complaint_handler', unit_id: 'ha-noi', unit_name: 'Thành phố Hà Nội' },
          { role: 'administrator', unit_id: 'ha-noi', unit_name: 'Thành phố Hà Nội' },
        ],
        rooms: ['live', 'search', 'devices'],
        may: { see_footage: true, hold_footage: true, see_devices: true },
      });
    case 'units':
      return json(res, { items: units });
    case 'counters': {
      if (!id) return json(res, { items: places.map((p) => p.counter) });
      const place = places.find((p) => p.counter.counter_id === id);
      if (!place) return problem(res, 404, 'not_found');
      if (rest === 'health') return json(res, healthOf(id, Number(url.searchParams.get('days') ?? 1)));
      return json(res, rest === 'timeline' ? timeline(id, time('from'), time('to')) : place.counter);
    }
    case 'live-state': {
      res.setHeader('content-type', 'text/event-stream');
      const send = (event: string, data: unknown) =>
        res.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
      send('snapshot', { counters: places.map((p) => p.counter) });
      const timer = setInterval(() => res.write(': still here\n\n'), 15_000);
      req.on('close', () => clearInterval(timer));
      return;
    }
    case 'interactions': {
      if (!id && url.searchParams.get('q') === 'cấm') return problem(res, 403, 'forbidden');
      if (!id && url.searchParams.get('q') === 'lỗi') return problem(res, 500, 'server_error');
      if (!id) return json(res, search(url.searchParams));
      const found = interactions.find((it) => it.interaction_id === id);
      return found ? json(res, found) : problem(res, 404, 'not_found');
    }
    case 'dossiers': {
      const visits = interactions
        .filter((it) => it.dossiers.some((d) => d.code === id))
        .sort((a, b) => a.start.localeCompare(b.start));
      if (visits.length === 0) return problem(res, 404, 'not_found');
      const first = Date.parse(visits[0]!.start);
      return json(res, {
        code: id,
        is_known_pattern: true,
        warning: null,
        visits,
        statuses: [
          { at: new Date(first + 900_000).toISOString(), status: 'Đã tiếp nhận', source: '/dvc/ha-noi' },
          {
            at: new Date(first + 22 * 3_600_000).toISOString(),
            status: 'Yêu cầu bổ sung giấy tờ',
            source: '/dvc/ha-noi',
          },
        ],
      });
    }
    case 'holds': {
      if (req.method === 'POST') {
        const asked = JSON.parse(await body(req)) as S['NewHold'];
        const { counter, ...rest } = asked;
        const placed: S['Hold'] = {
          ...rest,
          hold_id: crypto.randomUUID(),
          counter_id: counter,
          placed_by: 'khieunai',
          placed_at: new Date().toISOString(),
          released_by: null,
          released_at: null,
        };
        holds.push(placed);
        return json(res, placed, 201);
      }
      if (req.method === 'DELETE') {
        const found = holds.findIndex((h) => h.hold_id === id);
        if (found < 0) return problem(res, 404, 'not_found');
        holds.splice(found, 1);
        res.statusCode = 204;
        return res.end();
      }
      return json(res, { items: holds.filter((h) => h.counter_id === url.searchParams.get('counter')) });
    }
    case 'recorders':
      return json(res, { items: recorders });
    case 'fetches':
      if (req.method === 'DELETE') {
        res.statusCode = 204;
        return res.end();
      }
      return json(res, fetchView(id));
    case 'exports':
      return exportsRoom(req, res, id, rest);
    case 'streams': {
      if (rest === 'fetch') {
        const asked = JSON.parse(await body(req)) as S['FetchQuery'];
        const [from, to] = [Date.parse(asked.from), Date.parse(asked.to)];
        fetchFrom(id, from, to);
        return json(res, fetchView(`${id}~${from}~${to}`), 202);
      }
      if (rest === 'playlist.m3u8') {
        const text = playlist(id, time('from'), time('to'));
        if (!text) return problem(res, 404, 'no_recording');
        res.setHeader('content-type', 'application/vnd.apple.mpegurl');
        return res.end(text);
      }
      if (rest === 'still.jpg') {
        if (id.startsWith('ngoc-ha-q02')) return problem(res, 404, 'no_recording');
        res.setHeader('content-type', 'image/jpeg');
        return res.end(still(id, time('at'), Number(url.searchParams.get('width') ?? 640)));
      }
      return problem(res, 503, 'stream_offline');
    }
    case 'segments': {
      const { file } = sampleOf(`x.${id}.main`);
      const size = statSync(file).size;
      const range = /bytes=(\d+)-(\d*)/.exec(req.headers.range ?? '');
      const [start, end] = range ? [Number(range[1]), range[2] ? Number(range[2]) : size - 1] : [0, size - 1];
      res.writeHead(range ? 206 : 200, {
        'content-type': 'video/mp4',
        'accept-ranges': 'bytes',
        'content-length': end - start + 1,
        ...(range ? { 'content-range': `bytes ${start}-${end}/${size}` } : {}),
      });
      return createReadStream(file, { start, end }).pipe(res);
    }
  }
  return problem(res, 404, 'not_found');
}

/** What the server sends with the page; a build that needs more than this does not work there. */
const CSP =
  "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; " +
  "worker-src 'self' blob:; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'";

function handle(req: IncomingMessage, res: ServerResponse, next: () => void) {
  answer(req, res, next).catch((cause: unknown) => {
    console.error(cause);
    if (!res.headersSent) problem(res, 500, 'server_error');
  });
}

export function mockApi(): Plugin {
  return {
    name: 'mock-api',
    configureServer(server) {
      server.middlewares.use(handle);
    },
    configurePreviewServer(server) {
      server.middlewares.use((_, res, next) => {
        res.setHeader('content-security-policy', CSP);
        next();
      });
      server.middlewares.use(handle);
    },
  };
}
