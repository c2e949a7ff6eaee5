-- The recorder's index. Times named _wall_us are UTC microseconds since 1970-01-01; times named
-- _media_us are microseconds since the first sample of their run.

-- Single values: the volume's UUID, the last moment the recorder was seen alive, facts acknowledged.
create table setting (
    name text primary key check (name in ('volume', 'alive_wall_us', 'facts_through')),
    value text not null
) strict;

-- One capture without interruption.
create table run (
    run_id text primary key check (length(run_id) = 36),
    stream text not null,
    tracks text not null check (json_valid(tracks)),          -- JSON list of archive::segment::Track
    is_ended integer not null default 0 check (is_ended in (0, 1))
) strict;
create index run_open on run (stream) where is_ended = 0;

-- Observations that tie a run's media time to the wall clock.
create table anchor (
    run_id text not null references run (run_id),
    media_us integer not null,
    wall_us integer not null,
    clock_state text not null check (clock_state in ('synchronized', 'unsynchronized', 'impossible')),
    primary key (run_id, media_us)
) strict, without rowid;

-- One file, `<stream>/<sequence / 1000>/<sequence>.mp4`. Sequences of a stream are never used twice,
-- so rows stay as tombstones.
create table segment (
    segment_id integer primary key,
    stream text not null,
    sequence integer not null check (sequence > 0),
    run_id text not null references run (run_id),
    state text not null
        check (state in ('recording', 'sealed', 'uploading', 'acknowledged', 'evictable', 'tombstone')),
    init_size_bytes integer not null check (init_size_bytes > 0),
    size_bytes integer not null check (size_bytes >= init_size_bytes),  -- synced to the disk
    sha256 blob check (length(sha256) = 32),                  -- of the whole file, from sealing on
    reason text,                                              -- why it was deleted
    unique (stream, sequence),
    check (state in ('recording', 'tombstone') or sha256 is not null)
) strict;
create index segment_by_state on segment (state, segment_id) where state <> 'tombstone';

-- One moof+mdat with its prft. A row is written only after its bytes are synced.
create table fragment (
    segment_id integer not null references segment (segment_id),
    offset_bytes integer not null check (offset_bytes > 0),
    size_bytes integer not null check (size_bytes > 0),
    start_media_us integer not null,
    duration_us integer not null check (duration_us >= 0),
    is_keyframe integer not null check (is_keyframe in (0, 1)),
    sha256 blob not null check (length(sha256) = 32),
    primary key (segment_id, offset_bytes)
) strict, without rowid;

-- Stretches without a recording, each with its cause (archive::gap::GapCause).
create table gap (
    gap_id text primary key check (length(gap_id) = 36),
    stream text not null,
    start_wall_us integer not null,
    end_wall_us integer,                                      -- null while the gap is open
    cause text not null,
    detail text not null
) strict;
create unique index gap_open on gap (stream) where end_wall_us is null;

-- Counter events as they came.
create table event (
    event_id integer primary key,
    source text not null,
    id text not null,
    received_wall_us integer not null,
    json text not null check (json_valid(json)),              -- the CloudEvents JSON
    unique (source, id)                                       -- the idempotency key
) strict;

-- What the server must learn, in order, numbered without holes (archive::uplink::Fact).
create table fact (
    number integer primary key autoincrement,
    json text not null check (json_valid(json))
) strict;
