/** An invented day at three one-stop halls, the same on each start. Development and screenshots only. */
import type { components } from '../../src/api/schema.ts';

type S = components['schemas'];

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const ZONE = 7 * HOUR;

export const units: S['Unit'][] = [
  { unit_id: 'ha-noi', name: 'Thành phố Hà Nội', parent_id: null },
  { unit_id: 'ba-dinh', name: 'Phường Ba Đình', parent_id: 'ha-noi' },
  { unit_id: 'tay-ho', name: 'Phường Tây Hồ', parent_id: 'ha-noi' },
  { unit_id: 'ngoc-ha', name: 'Phường Ngọc Hà', parent_id: 'ha-noi' },
];

const sites = [
  { id: 'ba-dinh', unit: 'ba-dinh', name: 'Trung tâm PVHCC phường Ba Đình', counters: 3 },
  { id: 'tay-ho', unit: 'tay-ho', name: 'Điểm một cửa Tây Hồ', counters: 4 },
  { id: 'ngoc-ha', unit: 'ngoc-ha', name: 'Điểm một cửa Ngọc Hà', counters: 2 },
];
const procedures = [
  'Đăng ký khai sinh',
  'Chứng thực bản sao từ bản chính',
  'Xác nhận tình trạng hôn nhân',
  'Đăng ký thường trú',
  'Cấp đổi giấy chứng nhận quyền sử dụng đất',
  'Đăng ký hộ kinh doanh',
];
const officers = [
  'Trần Thị Hoa',
  'Nguyễn Văn Minh',
  'Lê Thu Hà',
  'Phạm Quốc Anh',
  'Vũ Thị Hồng Nhung',
  'Đặng Hoàng Long',
  'Bùi Thị Ngọc',
  'Hoàng Đức Thắng',
  'Ngô Phương Thảo',
];

/** A small generator with a seed, so that screenshots can be compared. */
function random(seed: number) {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
}

export interface Place {
  counter: S['Counter'];
  index: number;
}

const iso = (ms: number) => new Date(ms).toISOString().replace('Z', '000Z');
const dateOf = (ms: number) => new Date(ms + ZONE).toISOString().slice(0, 10);
const uuid = (a: number, b: number) =>
  `0198c0de-${String(a).padStart(4, '0')}-7000-8000-${String(b).padStart(12, '0')}`;

const startedAt = Date.now();

/** The newest footage that has arrived. */
export const arrived = () => Date.now() - 75_000;

/** Stretches that a stream has no footage of, with causes. */
export function gapsOf(streamId: string, from: number, to: number): S['Gap'][] {
  const found: S['Gap'][] = [];
  const add = (start: number, end: number, cause: S['GapCause'], detail: string) => {
    if (end > from && start < to)
      found.push({ gap_id: uuid(9, start % 1e9), start: iso(start), end: iso(end), cause, detail });
  };
  for (let hour = Math.floor(from / HOUR) * HOUR - HOUR; hour < to; hour += HOUR) {
    if (streamId.includes('.front.'))
      add(
        hour + 17 * MINUTE + 20_000,
        hour + 18 * MINUTE + 2000,
        'camera_offline',
        'RTSP: connection reset by peer',
      );
    if (streamId.startsWith('tay-ho'))
      add(
        hour + 43 * MINUTE,
        hour + 43 * MINUTE + 34_000,
        'recorder_down',
        'no clean shutdown found at start',
      );
  }
  const last = arrived();
  if (to > last)
    found.push({
      gap_id: null,
      start: iso(Math.max(from, last)),
      end: null,
      cause: null,
      detail: null,
      pending: true,
    });
  return found.sort((a, b) => a.start.localeCompare(b.start));
}

const fetched: { stream: string; from: number; to: number; since: number }[] = [];
/** How many seconds of footage come from a recorder in one. */
const FETCH_RATE = 30;

/** Notes that somebody fetches a stretch; it comes from its start on. */
export function fetchFrom(stream: string, from: number, to: number) {
  fetched.push({ stream, from, to, since: Date.now() });
}

/** Where what was fetched has come to. */
export function fetchedUntil(stream: string, from: number, to: number): number {
  const fetch = fetched.find((f) => f.stream === stream && f.from === from && f.to === to);
  return fetch ? Math.min(to, from + Math.max(0, Date.now() - fetch.since - 1500) * FETCH_RATE) : from;
}

/** Stretches that only the recorder has: of one counter, four minutes an hour. */
export function awayOf(streamId: string, from: number, to: number): { start: number; end: number }[] {
  if (!streamId.startsWith('tay-ho-q01')) return [];
  const found: { start: number; end: number }[] = [];
  for (let hour = Math.floor(from / HOUR) * HOUR - HOUR; hour < to; hour += HOUR) {
    let pieces = [{ start: hour + 25 * MINUTE, end: hour + 29 * MINUTE }];
    for (const f of fetched.filter((f) => f.stream === streamId)) {
      const until = fetchedUntil(f.stream, f.from, f.to);
      pieces = pieces.flatMap((p) =>
        [
          { start: p.start, end: Math.min(p.end, f.from) },
          { start: Math.max(p.start, until), end: p.end },
        ].filter((rest) => rest.end > rest.start),
      );
    }
    found.push(...pieces.filter((p) => p.end > from && p.start < to));
  }
  return found;
}

/** What is left between the gaps. */
export function spansOf(streamId: string, from: number, to: number): { start: string; end: string }[] {
  const spans: { start: string; end: string }[] = [];
  let at = from;
  const away = awayOf(streamId, from, to).map((a) => ({ start: iso(a.start), end: iso(a.end) }));
  const missing = [...gapsOf(streamId, from, to), ...away].sort((a, b) => a.start.localeCompare(b.start));
  for (const gap of missing) {
    const start = Date.parse(gap.start);
    if (start > at) spans.push({ start: iso(at), end: iso(start) });
    at = gap.end === null ? to : Math.max(at, Date.parse(gap.end));
  }
  if (at < to) spans.push({ start: iso(at), end: iso(to) });
  return spans;
}

function stream(
  counter: string,
  viewpoint: string,
  quality: 'main' | 'sub',
  fault: boolean,
  offline: boolean,
): S['Stream'] {
  return {
    stream_id: `${counter}.${viewpoint}.${quality}`,
    viewpoint,
    quality,
    has_audio: viewpoint === 'front',
    video_codec: 'avc1.640028',
    audio_codec: viewpoint === 'front' ? 'mp4a.40.2' : null,
    width: quality === 'main' ? 1920 : 640,
    height: quality === 'main' ? 1080 : 360,
    state: offline ? 'offline' : fault ? 'fault' : 'recording',
    last_sample_age_ms: offline ? null : fault ? 252_000 : 300,
    since: offline || fault ? iso(startedAt - 252_000) : iso(startedAt - 5 * HOUR),
    fault_cause: fault ? 'camera_offline' : null,
    footage_until: offline ? null : iso(startedAt - (fault ? 252_000 : 75_000)),
  };
}

export const interactions: S['InteractionDetail'][] = [];
export const places: Place[] = [];

function build() {
  const sharedDossier = '000.00.17.H26-180615-0001';
  let index = 0;
  for (const site of sites) {
    for (let n = 1; n <= site.counters; n++) {
      const counterId = `${site.id}-q0${n}`;
      const fault = counterId === 'tay-ho-q02';
      const offline = counterId === 'ngoc-ha-q02';
      const rnd = random(index * 7919 + 17);
      const officer = { code: `NV0${11 + index}`, name: officers[index % officers.length]! };
      const own: S['InteractionDetail'][] = [];
      for (let day = 3; day >= 0; day--) {
        const open = Math.floor((startedAt + ZONE) / DAY) * DAY - ZONE - day * DAY + 7.5 * HOUR;
        const close = day === 0 ? startedAt : open + 9.5 * HOUR;
        let at = Math.min(open, startedAt - 3 * HOUR) + Math.floor(rnd() * 5 * MINUTE);
        for (let number = 1 + index * 30; at < close; number++) {
          const length = Math.floor((4 + rnd() * 13) * MINUTE);
          const called = at;
          const started = at + 20_000 + Math.floor(rnd() * 25_000);
          const end = started + length;
          const isOpen = end > startedAt;
          const noShow = rnd() < 0.06 && !isOpen;
          const score = rnd() < 0.12 ? 0 : rnd() < 0.25 ? 1 : 2;
          const series = site.id === 'tay-ho' ? 'B' : site.id === 'ngoc-ha' ? 'C' : 'A';
          const label = `${series}${String(number).padStart(4, '0')}`;
          const ticket = {
            series,
            number: String(number).padStart(4, '0'),
            label,
            business_date: dateOf(at),
          };
          const isShared =
            index < 5 && number % 9 === 4 && day <= 2 && (day + index) % 2 === 0 && number < 15 + index * 30;
          const code = isShared
            ? sharedDossier
            : `H26.${10 + index}.05-${dateOf(at).slice(2).replaceAll('-', '')}-${String(100 + number)}`;
          const procedure = isShared ? procedures[4]! : procedures[Math.floor(rnd() * procedures.length)]!;
          const finish = noShow ? started + 60_000 : end;
          const missing = gapsOf(`${counterId}.front.main`, called, Math.min(finish, startedAt)).reduce(
            (sum, g) =>
              g.end === null
                ? sum
                : sum + (Math.min(Date.parse(g.end), finish) - Math.max(Date.parse(g.start), called)) / 1000,
            0,
          );
          const id = uuid(index, day * 1000 + number);
          const rated = !noShow && !isOpen && rnd() < 0.7;
          const rating = rated
            ? {
                score,
                scale: [0, 2] as [number, number],
                percent: score * 50,
                reasons: score === 0 ? ['attitude', 'waiting_time'] : [],
                given_at: iso(end + 9000),
              }
            : null;
          const dossiers = noShow
            ? []
            : [
                {
                  code,
                  provenance: 'scan' as const,
                  confidence: 100,
                  at: iso(started + 48_000),
                  warning: null,
                },
              ];
          if (dossiers.length && number % 5 === 0)
            dossiers.push({ ...dossiers[0]!, code: code + '-B', at: iso(started + 95_000) });
          const data = { ticket: { series, number: ticket.number }, officer: officer.code, procedure };
          const event = (type: string, ms: number, extra: object = {}) => ({
            at: iso(ms),
            received_at: iso(ms + 240),
            type,
            source: type.startsWith('rating')
              ? `/kiosk/${site.id}`
              : type.startsWith('dossier')
                ? `/scanner/${counterId}`
                : `/qms/${site.id}`,
            id: [id.slice(-6), type, ...Object.values(extra).slice(0, 1)].join('-'),
            data: { ...data, ...extra },
          });
          const events = [
            event('ticket.called', called),
            ...(noShow
              ? [event('ticket.recalled', called + 40_000), event('ticket.no_show', finish)]
              : [
                  event('ticket.serving_started', started),
                  ...dossiers.map((d) =>
                    event('dossier.scanned', Date.parse(d.at), { dossier: d.code, symbology: 'code128' }),
                  ),
                  ...(length > 12 * MINUTE
                    ? [
                        event('ticket.held', started + 5 * MINUTE),
                        event('ticket.resumed', started + 7 * MINUTE),
                      ]
                    : []),
                  ...(isOpen ? [] : [event('ticket.finished', finish)]),
                  ...(rating
                    ? [event('rating.given', Date.parse(rating.given_at), { score, scale: [0, 2] })]
                    : []),
                ]),
          ].filter((e) => Date.parse(e.at) <= startedAt);
          own.push({
            interaction_id: id,
            site_id: site.id,
            site_name: site.name,
            counter_id: counterId,
            counter_name: `Quầy 0${n}`,
            ticket,
            state: isOpen ? 'serving' : noShow ? 'no_show' : 'finished',
            procedure: noShow ? null : procedure,
            officer,
            issued_at: iso(called - 14 * MINUTE),
            called_at: iso(called),
            started_at: noShow ? null : iso(started),
            finished_at: isOpen ? null : iso(finish),
            start: iso(called),
            end: isOpen ? null : iso(finish),
            duration_s: isOpen || noShow ? null : length / 1000,
            rating,
            dossiers,
            confidence: number % 7 === 0 ? 70 : 100,
            confidence_reasons: number % 7 === 0 ? ['finish_missing'] : [],
            coverage: isOpen ? 'pending' : missing > 1 ? 'partial' : 'full',
            missing_s: Math.round(missing),
            revision: rating ? 2 : 1,
            still_url: `/api/v1/streams/${counterId}.front.main/still.jpg?at=${new Date(started + 30_000).toISOString()}&width=320`,
            previous_id: null,
            next_id: null,
            predecessor_id: null,
            successor_id: null,
            events,
            revisions: [
              { revision: 1, at: iso(finish + 400), cause: 'ticket.finished', changes: [] },
              ...(rating
                ? [
                    {
                      revision: 2,
                      at: iso(Date.parse(rating.given_at) + 240),
                      cause: 'rating.given',
                      changes: [{ field: 'rating', before: null, after: score }],
                    },
                  ]
                : []),
            ],
          });
          at = finish + Math.floor((0.5 + rnd() * 4) * MINUTE);
        }
      }
      own.forEach((it, i) => {
        it.previous_id = own[i - 1]?.interaction_id ?? null;
        it.next_id = own[i + 1]?.interaction_id ?? null;
      });
      interactions.push(...own);
      const current = own.at(-1)!;
      const serving = current.end === null;
      const long = serving && counterId === 'ba-dinh-q02';
      const waiting = [4, 11, 2, 0, 6, 3, 1, 0, 5][index]!;
      const alerts: S['Alert'][] = [];
      if (fault)
        alerts.push({ kind: 'recording_fault', since: iso(startedAt - 252_000), detail: 'camera_offline' });
      if (offline) alerts.push({ kind: 'recorder_offline', since: iso(startedAt - 252_000), detail: null });
      if (long) alerts.push({ kind: 'long_service', since: iso(startedAt - 23 * MINUTE), detail: null });
      if (waiting > 10) alerts.push({ kind: 'long_wait', since: iso(startedAt - 31 * MINUTE), detail: null });
      if (counterId === 'tay-ho-q01')
        alerts.push({ kind: 'low_rating', since: iso(startedAt - 2 * MINUTE), detail: null });
      const idle = counterId === 'tay-ho-q04';
      places.push({
        index,
        counter: {
          counter_id: counterId,
          name: `Quầy 0${n}`,
          site_id: site.id,
          site_name: site.name,
          unit_id: site.unit,
          streams: [
            stream(counterId, 'front', 'main', fault, offline),
            stream(counterId, 'front', 'sub', fault, offline),
            stream(counterId, 'desk', 'main', false, offline),
          ],
          live: {
            state: idle ? 'paused' : 'open',
            interaction_id: serving && !idle ? current.interaction_id : null,
            phase: serving && !idle ? 'serving' : null,
            ticket: serving && !idle ? current.ticket : null,
            procedure: serving && !idle ? current.procedure : null,
            officer,
            called_at: serving ? current.called_at : null,
            started_at: long ? iso(startedAt - 41 * MINUTE) : serving ? current.started_at : null,
            dossiers: serving && !idle ? current.dossiers.map((d) => d.code) : [],
            waiting,
            oldest_waiting_since: waiting > 0 ? iso(startedAt - (waiting * 2.6 + 1) * MINUTE) : null,
            last_rating: { percent: index % 3 === 0 ? 0 : 100, given_at: iso(startedAt - 8 * MINUTE) },
            last_interaction_id: own.at(-2)?.interaction_id ?? null,
            alerts,
            urgency:
              (fault || offline ? 60 : 0) +
              (long ? 40 : 0) +
              (waiting > 10 ? 30 : waiting) +
              (alerts.some((a) => a.kind === 'low_rating') ? 20 : 0),
            updated_at: iso(startedAt),
          },
        },
      });
      index += 1;
    }
  }
  interactions.sort((a, b) => b.start.localeCompare(a.start));
}
build();

export const recorders: S['Recorder'][] = sites.map((site, i) => ({
  recorder_id: `${site.id}-rec-01`,
  site_id: site.id,
  site_name: site.name,
  connected: site.id !== 'ngoc-ha',
  last_seen: iso(startedAt - (site.id === 'ngoc-ha' ? 252_000 : 4000)),
  software: '0.1.0',
  clock_offset_ms: [3, -148, 12][i]!,
  disk_free_bytes: [812e9, 96e9, 640e9][i]!,
  disk_total_bytes: 1000e9,
  pending_facts: [0, 14, null][i]!,
  disk_left_s: [null, 3 * 86_400, 26 * 86_400][i]!,
  alerts:
    i === 1
      ? [
          {
            kind: 'disk_forecast' as const,
            stream_id: null,
            since: iso(startedAt - 2 * 3_600_000),
            detail: 'at the rate of the last hours only footage that must stay is left in 72.0 hours',
          },
        ]
      : [],
  streams: places.filter((p) => p.counter.site_id === site.id).flatMap((p) => p.counter.streams),
  chains: [{ stream_id: `${site.id}-q01.front.main`, entries: 4211 + i, receipted: 4211 + i }],
  chain_conflicts: i === 1 ? 1 : 0,
  chain_conflict:
    i === 1
      ? {
          stream_id: `${site.id}-q01.front.main`,
          number: 4012,
          reason: 'another entry is known at its number: the chain forks',
          seen_at: iso(startedAt - 3_600_000),
        }
      : null,
  key_fingerprint: Array.from({ length: 16 }, (_, k) =>
    (0x1a2b + 977 * k * (i + 1)).toString(16).slice(-4),
  ).join(' '),
}));

/** A week of a counter: mostly fine, a covered lens, a day without a report. */
export function healthOf(counterId: string, count: number): S['Health'] {
  const place = places.find((p) => p.counter.counter_id === counterId)!;
  const kinds: S['EdgeAlertKind'][][] = [
    [],
    [],
    ['lens_covered', 'sound_dead'],
    [],
    ['picture_defocused'],
    [],
    [],
  ];
  const days = Array.from({ length: count }, (_, back) => {
    const date = new Date(startedAt - back * 86_400_000 + 7 * 3_600_000).toISOString().slice(0, 10);
    const isMissing = back === 6;
    return {
      date,
      reports: isMissing
        ? []
        : [
            {
              recorder_id: `${place.counter.site_id}-rec-01`,
              from: iso(startedAt - (back + 1) * 86_400_000),
              to: iso(startedAt - back * 86_400_000),
              is_final: back > 0,
              received: iso(startedAt - back * 86_400_000),
              streams: place.counter.streams.slice(0, 1).map((s) => ({
                stream_id: s.stream_id,
                picture_s: back > 0 ? 86_100 : 31_000,
                sound_s: back > 0 ? 86_050 : 30_950,
                gap_s: back === 1 ? 14 : 0,
                faults: (counterId.endsWith('q01') ? kinds[back]! : []).map((kind, i) => ({
                  kind,
                  seconds: 380 - 200 * i,
                  times: 1 + i,
                  detail: 'luma 65 of 255, deviation 5.8',
                })),
              })),
              clock_offset_min_ms: -4,
              clock_offset_max_ms: 11,
              unsynchronized_s: 0,
              disk_free_bytes: 640e9,
              read_back: true,
              text: '{}',
              signature: '00'.repeat(64),
              public_key: '00'.repeat(32),
            },
          ],
      retrievals: isMissing
        ? []
        : place.counter.streams.slice(0, 1).map((s) => ({
            stream_id: s.stream_id,
            sequence: 41 + back,
            checked: iso(startedAt - back * 86_400_000 - 3_600_000),
            is_whole: !(back === 3 && counterId.endsWith('q02')),
            detail: '',
          })),
    };
  });
  return { counter_id: counterId, name: place.counter.name, days };
}
