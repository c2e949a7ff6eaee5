/**
 * The HTTP interface as types, in the form that `npm run api` generates from the server's
 * `openapi.json`. Only `types.ts` and `client.ts` import it.
 */

export interface components {
  schemas: {
    Problem: {
      type?: string;
      title: string;
      status: number;
      detail?: string | null;
      code: string;
      errors?: { field: string; message: string }[];
      gap?: components['schemas']['Gap'] | null;
    };
    Role:
      | 'leader'
      | 'complaint_handler'
      | 'auditor'
      | 'officer'
      | 'administrator'
      | 'integrator'
      | 'data_protection_officer';
    Me: {
      username: string;
      display_name: string;
      grants: { role: components['schemas']['Role']; unit_id: string; unit_name: string }[];
      rooms: string[];
      may: { see_footage: boolean; hold_footage: boolean; see_devices: boolean };
    };
    Unit: { unit_id: string; name: string; parent_id: string | null };
    Site: { site_id: string; name: string; unit_id: string; unit_name: string; address: string | null };
    Ticket: { series: string; number: string; label: string; business_date: string };
    Officer: { code: string; name: string | null };
    GapCause:
      | 'camera_offline'
      | 'camera_silent'
      | 'camera_faulty'
      | 'recorder_stopped'
      | 'recorder_down'
      | 'disk_full'
      | 'disk_failed'
      | 'clock_step'
      | 'paused_by_rule'
      | 'tracks_changed';
    Stream: {
      stream_id: string;
      viewpoint: string;
      quality: 'main' | 'sub';
      has_audio: boolean;
      video_codec: string | null;
      audio_codec: string | null;
      width: number | null;
      height: number | null;
      state: 'recording' | 'fault' | 'offline' | 'unknown';
      last_sample_age_ms: number | null;
      since: string | null;
      fault_cause: components['schemas']['GapCause'] | null;
      footage_until: string | null;
    };
    EdgeAlertKind:
      | 'lens_covered'
      | 'picture_black'
      | 'picture_frozen'
      | 'picture_defocused'
      | 'scene_moved'
      | 'sound_dead'
      | 'sound_clipped'
      | 'sound_hum'
      | 'sound_absent'
      | 'clock_off'
      | 'disk_forecast'
      | 'disk_low'
      | 'disk_failed'
      | 'retrieval_failed'
      | 'backlog_grows';
    Alert: {
      kind:
        | 'recording_fault'
        | 'recorder_offline'
        | 'long_service'
        | 'low_rating'
        | 'long_wait'
        | components['schemas']['EdgeAlertKind'];
      since: string | null;
      detail: string | null;
    };
    LiveState: {
      state: 'open' | 'paused' | 'closed' | 'unknown';
      interaction_id: string | null;
      phase: 'called' | 'serving' | 'held' | null;
      ticket: components['schemas']['Ticket'] | null;
      procedure: string | null;
      officer: components['schemas']['Officer'] | null;
      called_at: string | null;
      started_at: string | null;
      dossiers: string[];
      waiting: number | null;
      oldest_waiting_since: string | null;
      last_rating: { percent: number; given_at: string } | null;
      last_interaction_id: string | null;
      alerts: components['schemas']['Alert'][];
      urgency: number;
      updated_at: string | null;
    };
    Counter: {
      counter_id: string;
      name: string;
      site_id: string;
      site_name: string;
      unit_id: string;
      streams: components['schemas']['Stream'][];
      live: components['schemas']['LiveState'];
    };
    DossierLink: {
      code: string;
      provenance: 'scan' | 'kiosk' | 'manual';
      confidence: number;
      at: string;
      warning: string | null;
    };
    Rating: { score: number; scale: number[]; percent: number; reasons: string[]; given_at: string };
    Interaction: {
      interaction_id: string;
      site_id: string;
      site_name: string;
      counter_id: string;
      counter_name: string;
      ticket: components['schemas']['Ticket'] | null;
      state:
        'called' | 'serving' | 'held' | 'finished' | 'no_show' | 'cancelled' | 'transferred' | 'abandoned';
      procedure: string | null;
      officer: components['schemas']['Officer'] | null;
      issued_at: string | null;
      called_at: string | null;
      started_at: string | null;
      finished_at: string | null;
      start: string;
      end: string | null;
      duration_s: number | null;
      rating: components['schemas']['Rating'] | null;
      dossiers: components['schemas']['DossierLink'][];
      confidence: number;
      confidence_reasons: string[];
      coverage: 'full' | 'partial' | 'none' | 'pending';
      missing_s: number;
      revision: number;
      still_url: string | null;
    };
    EventRecord: {
      at: string;
      received_at: string;
      type: string;
      source: string;
      id: string;
      data: { [key: string]: unknown };
    };
    Revision: {
      revision: number;
      at: string;
      cause: string | null;
      changes: { field: string; before: unknown; after: unknown }[];
    };
    InteractionDetail: components['schemas']['Interaction'] & {
      previous_id: string | null;
      next_id: string | null;
      predecessor_id: string | null;
      successor_id: string | null;
      events: components['schemas']['EventRecord'][];
      revisions: components['schemas']['Revision'][];
    };
    Understood: {
      kind: 'dossier' | 'ticket' | 'officer' | 'procedure' | 'counter' | 'date' | 'time' | 'text';
      value: { [key: string]: unknown };
      label: string;
      start: number;
      end: number;
    };
    InteractionPage: {
      items: components['schemas']['Interaction'][];
      next_cursor: string | null;
      understood: components['schemas']['Understood'][];
    };
    Dossier: {
      code: string;
      is_known_pattern: boolean;
      warning: string | null;
      visits: components['schemas']['Interaction'][];
      statuses: { at: string; status: string; source: string }[];
    };
    Gap: {
      gap_id: string | null;
      start: string;
      end: string | null;
      cause: components['schemas']['GapCause'] | null;
      detail: string | null;
      pending?: boolean;
    };
    TimelineStream: {
      stream_id: string;
      viewpoint: string;
      quality: 'main' | 'sub';
      has_audio: boolean;
      spans: { start: string; end: string }[];
      at_edge: { start: string; end: string }[];
      gaps: components['schemas']['Gap'][];
    };
    FetchQuery: { from: string; to: string };
    Fetch: {
      fetch_id: string;
      stream_id: string;
      from: string;
      to: string;
      state: 'waiting' | 'on_its_way' | 'done' | 'failed' | 'cancelled';
      reason: 'nothing_there' | null;
      bytes_done: number;
      bytes_total: number;
      available: { start: string; end: string }[];
      left_s: number | null;
    };
    TimelineEvent: {
      at: string;
      type: string;
      ticket: string | null;
      interaction_id: string | null;
      dossier: string | null;
      score: number | null;
    };
    Timeline: {
      from: string;
      to: string;
      streams: components['schemas']['TimelineStream'][];
      interactions: components['schemas']['Interaction'][];
      events: components['schemas']['TimelineEvent'][];
    };
    HealthFault: {
      kind: components['schemas']['EdgeAlertKind'];
      seconds: number;
      times: number;
      detail: string;
    };
    HealthStream: {
      stream_id: string;
      picture_s: number;
      sound_s: number;
      gap_s: number;
      faults: components['schemas']['HealthFault'][];
    };
    HealthReport: {
      recorder_id: string;
      from: string;
      to: string;
      is_final: boolean;
      received: string;
      streams: components['schemas']['HealthStream'][];
      clock_offset_min_ms: number | null;
      clock_offset_max_ms: number | null;
      unsynchronized_s: number;
      disk_free_bytes: number | null;
      read_back: boolean | null;
      text: string;
      signature: string;
      public_key: string;
    };
    HealthDay: {
      date: string;
      reports: components['schemas']['HealthReport'][];
      retrievals: {
        stream_id: string;
        sequence: number;
        checked: string;
        is_whole: boolean;
        detail: string;
      }[];
    };
    Health: { counter_id: string; name: string; days: components['schemas']['HealthDay'][] };
    Recorder: {
      recorder_id: string;
      site_id: string;
      site_name: string;
      connected: boolean;
      last_seen: string | null;
      software: string | null;
      clock_offset_ms: number | null;
      disk_free_bytes: number | null;
      disk_total_bytes: number | null;
      pending_facts: number | null;
      disk_left_s: number | null;
      alerts: components['schemas']['RecorderAlert'][];
      streams: components['schemas']['Stream'][];
      chains: { stream_id: string; entries: number; receipted: number }[];
      chain_conflicts: number;
      chain_conflict: { stream_id: string; number: number; reason: string; seen_at: string } | null;
      key_fingerprint: string | null;
    };
    ExportRequest: { stream?: string; counter?: string; from: string; to: string };
    Export: {
      id: string;
      counter_id: string;
      streams: string[];
      from: string;
      to: string;
      state: 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';
      progress: number;
      created_at: string;
      expires_at: string;
      failure: string | null;
      failure_detail: string | null;
      file: { name: string; size_bytes: number; sha256: string; url: string } | null;
      content: {
        films: {
          name: string;
          stream_id: string;
          recorder_id: string;
          from: string;
          to: string;
          size_bytes: number;
          sha256: string;
        }[];
        holes: { stream_id: string; from: string; to: string; cause: string | null }[];
      } | null;
    };
    RecorderAlert: {
      kind: components['schemas']['EdgeAlertKind'];
      stream_id: string | null;
      since: string;
      detail: string;
    };
    NewHold: { counter: string; from: string; to: string; reason: string };
    Hold: {
      hold_id: string;
      counter_id: string;
      from: string;
      to: string;
      reason: string;
      placed_by: string;
      placed_at: string;
      released_by: string | null;
      released_at: string | null;
    };
  };
}

type Schemas = components['schemas'];
type Json<T> = { headers: { [name: string]: unknown }; content: { 'application/json': T } };
type Failure = {
  headers: { [name: string]: unknown };
  content: { 'application/problem+json': Schemas['Problem'] };
};
type Empty = { headers: { [name: string]: unknown }; content?: never };
type Nothing = { query?: never; header?: never; path?: never; cookie?: never };

type Get<T, Query = never, Path = never> = {
  parameters: { query?: Query; header?: never; path: Path; cookie?: never };
  requestBody?: never;
  responses: { 200: Json<T>; default: Failure };
};
type OnlyGet<T, Query = never, Path = undefined> = {
  parameters: Nothing;
  get: Path extends undefined
    ? {
        parameters: { query?: Query; header?: never; path?: never; cookie?: never };
        requestBody?: never;
        responses: { 200: Json<T>; default: Failure };
      }
    : Get<T, Query, Path>;
  put?: never;
  post?: never;
  delete?: never;
  options?: never;
  head?: never;
  patch?: never;
  trace?: never;
};

export interface InteractionQuery {
  q?: string;
  ticket?: string;
  dossier?: string;
  counter?: string;
  site?: string;
  officer?: string;
  rating_max?: number;
  from?: string;
  to?: string;
  limit?: number;
  cursor?: string;
}

export interface paths {
  '/api/v1/session': {
    parameters: Nothing;
    get?: never;
    put?: never;
    post: {
      parameters: Nothing;
      requestBody: { content: { 'application/json': { username: string; password: string } } };
      responses: { 204: Empty; default: Failure };
    };
    delete: {
      parameters: Nothing;
      requestBody?: never;
      responses: { 204: Empty; default: Failure };
    };
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/me': OnlyGet<Schemas['Me']>;
  '/api/v1/units': OnlyGet<{ items: Schemas['Unit'][] }>;
  '/api/v1/sites': OnlyGet<{ items: Schemas['Site'][] }>;
  '/api/v1/counters': OnlyGet<{ items: Schemas['Counter'][] }, { site?: string; unit?: string }>;
  '/api/v1/counters/{id}': OnlyGet<Schemas['Counter'], never, { id: string }>;
  '/api/v1/counters/{id}/health': OnlyGet<
    Schemas['Health'],
    { date?: string; days?: number },
    { id: string }
  >;
  '/api/v1/counters/{id}/timeline': OnlyGet<
    Schemas['Timeline'],
    { from: string; to: string },
    { id: string }
  >;
  '/api/v1/interactions': OnlyGet<Schemas['InteractionPage'], InteractionQuery>;
  '/api/v1/interactions/{id}': OnlyGet<Schemas['InteractionDetail'], never, { id: string }>;
  '/api/v1/dossiers/{code}': OnlyGet<Schemas['Dossier'], never, { code: string }>;
  '/api/v1/holds': {
    parameters: Nothing;
    get: {
      parameters: { query?: { counter?: string }; header?: never; path?: never; cookie?: never };
      requestBody?: never;
      responses: { 200: Json<{ items: Schemas['Hold'][] }>; default: Failure };
    };
    put?: never;
    post: {
      parameters: Nothing;
      requestBody: { content: { 'application/json': Schemas['NewHold'] } };
      responses: { 201: Json<Schemas['Hold']>; default: Failure };
    };
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/holds/{id}': {
    parameters: Nothing;
    get?: never;
    put?: never;
    post?: never;
    delete: {
      parameters: { query?: never; header?: never; path: { id: string }; cookie?: never };
      requestBody?: never;
      responses: { 204: Empty; default: Failure };
    };
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/streams/{id}/fetch': {
    parameters: Nothing;
    get?: never;
    put?: never;
    post: {
      parameters: { query?: never; header?: never; path: { id: string }; cookie?: never };
      requestBody: { content: { 'application/json': Schemas['FetchQuery'] } };
      responses: { 202: Json<Schemas['Fetch']>; default: Failure };
    };
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/fetches/{id}': {
    parameters: Nothing;
    get: {
      parameters: { query?: never; header?: never; path: { id: string }; cookie?: never };
      requestBody?: never;
      responses: { 200: Json<Schemas['Fetch']>; default: Failure };
    };
    put?: never;
    post?: never;
    delete: {
      parameters: { query?: never; header?: never; path: { id: string }; cookie?: never };
      requestBody?: never;
      responses: { 204: Empty; default: Failure };
    };
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/recorders': OnlyGet<{ items: Schemas['Recorder'][] }>;
  '/api/v1/exports': {
    parameters: Nothing;
    get: OnlyGet<{ items: Schemas['Export'][] }>['get'];
    put?: never;
    post: {
      parameters: Nothing;
      requestBody: { content: { 'application/json': Schemas['ExportRequest'] } };
      responses: { 201: Json<Schemas['Export']>; default: Failure };
    };
    delete?: never;
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
  '/api/v1/exports/{id}': {
    parameters: Nothing;
    get: OnlyGet<Schemas['Export'], never, { id: string }>['get'];
    put?: never;
    post?: never;
    delete: {
      parameters: { query?: never; header?: never; path: { id: string }; cookie?: never };
      requestBody?: never;
      responses: { 204: Empty; default: Failure };
    };
    options?: never;
    head?: never;
    patch?: never;
    trace?: never;
  };
}
