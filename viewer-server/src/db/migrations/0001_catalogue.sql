-- The catalogue of the centre. One text for SQLite and PostgreSQL: BIGINT microseconds UTC (names end in _us),
-- TEXT ids, flags as BIGINT 0 or 1, DOUBLE PRECISION for shares, BYTEA for coded indexes.

-- A unit of the administration in a dated tree of any depth.
CREATE TABLE unit (
    unit_id TEXT NOT NULL PRIMARY KEY,
    parent_id TEXT REFERENCES unit (unit_id) CHECK (parent_id <> unit_id),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    -- the unit exists from here on
    valid_from_us BIGINT NOT NULL,
    -- and until here; null: still
    valid_to_us BIGINT CHECK (valid_to_us > valid_from_us)
);

-- A building with a one-stop hall.
CREATE TABLE site (
    site_id TEXT NOT NULL PRIMARY KEY,
    unit_id TEXT NOT NULL REFERENCES unit (unit_id),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    address TEXT,
    -- grows by one with each derivation: the row lock that serialises them
    derivation BIGINT NOT NULL DEFAULT 0 CHECK (derivation >= 0)
);

-- A recorder, enrolled by a one-time code and known by its key.
CREATE TABLE recorder (
    recorder_id TEXT NOT NULL PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES site (site_id),
    name TEXT NOT NULL,
    -- Ed25519, 64 hexadecimal digits
    public_key TEXT NOT NULL CHECK (length(public_key) = 64),
    enrolled_us BIGINT NOT NULL,
    -- version of its program as it last said
    software TEXT,
    last_seen_us BIGINT,
    -- number of the last fact stored; facts have no holes
    facts_through BIGINT NOT NULL DEFAULT 0 CHECK (facts_through >= 0),
    -- its wall clock minus ours
    clock_offset_us BIGINT,
    disk_free_bytes BIGINT CHECK (disk_free_bytes >= 0),
    disk_total_bytes BIGINT CHECK (disk_total_bytes >= 0),
    pending_facts BIGINT CHECK (pending_facts >= 0)
);

-- A counter; known once a recorder or an administrator names it.
CREATE TABLE counter (
    counter_id TEXT NOT NULL PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES site (site_id),
    name TEXT NOT NULL CHECK (length(name) BETWEEN 1 AND 200)
);
CREATE INDEX counter_by_site ON counter (site_id);

-- The synchronised tracks of one viewpoint at one quality; tracks as of its newest run.
CREATE TABLE stream (
    stream_id TEXT NOT NULL PRIMARY KEY,
    counter_id TEXT NOT NULL REFERENCES counter (counter_id),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    has_audio BIGINT NOT NULL CHECK (has_audio IN (0, 1)),
    video_codec TEXT,
    audio_codec TEXT,
    width BIGINT NOT NULL DEFAULT 0 CHECK (width >= 0),
    height BIGINT NOT NULL DEFAULT 0 CHECK (height >= 0)
);
CREATE INDEX stream_by_counter ON stream (counter_id);

-- A one-time code for a recorder of a site; the code itself is not kept.
CREATE TABLE enrolment_code (
    -- first piece of the code, finds the row
    selector TEXT NOT NULL PRIMARY KEY,
    -- SHA-256 of the whole code, hexadecimal
    code_hash TEXT NOT NULL CHECK (length(code_hash) = 64),
    site_id TEXT NOT NULL REFERENCES site (site_id),
    created_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL,
    used_us BIGINT,
    -- wrong tries with this selector
    failures BIGINT NOT NULL DEFAULT 0 CHECK (failures >= 0)
);

-- One capture without interruption.
CREATE TABLE run (
    run_id TEXT NOT NULL PRIMARY KEY,
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    -- JSON list of tracks
    tracks TEXT NOT NULL,
    -- wall time of its first anchor
    started_us BIGINT NOT NULL,
    has_ended BIGINT NOT NULL DEFAULT 0 CHECK (has_ended IN (0, 1))
);

-- One look at the clock during a run.
CREATE TABLE anchor (
    run_id TEXT NOT NULL REFERENCES run (run_id),
    -- position in the run
    media_us BIGINT NOT NULL,
    -- what the clock showed
    wall_us BIGINT NOT NULL,
    -- wall time after limiting the rate of change against the anchor before
    steered_us BIGINT NOT NULL,
    clock_state TEXT NOT NULL CHECK (clock_state IN ('synchronized', 'unsynchronized', 'impossible')),
    PRIMARY KEY (run_id, media_us)
);

-- One stored file of a stream. Its manifest lies beside it in the store.
CREATE TABLE segment (
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    run_id TEXT NOT NULL REFERENCES run (run_id),
    -- wall time by the run's anchors, recomputed when a later anchor moves it
    start_us BIGINT NOT NULL,
    end_us BIGINT NOT NULL,
    -- position in the run
    start_media_us BIGINT NOT NULL,
    end_media_us BIGINT NOT NULL CHECK (end_media_us >= start_media_us),
    size_bytes BIGINT NOT NULL CHECK (size_bytes > 0),
    init_size_bytes BIGINT NOT NULL CHECK (init_size_bytes BETWEEN 1 AND size_bytes),
    -- SHA-256 of the init segment and of the file, hexadecimal
    init_sha256 TEXT NOT NULL CHECK (length(init_sha256) = 64),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    -- ranges that each start with a keyframe, coded
    gop_index BYTEA NOT NULL,
    stored_us BIGINT NOT NULL,
    PRIMARY KEY (stream_id, sequence, recorder_id)
);
-- answers "what is recorded between" from the index alone
CREATE INDEX segment_by_time ON segment (stream_id, start_us, end_us, run_id, start_media_us, end_media_us);

-- A segment on its way up: promised by its manifest, bytes in the upload folder.
CREATE TABLE upload (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    -- JSON as it came
    manifest TEXT NOT NULL,
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    size_bytes BIGINT NOT NULL CHECK (size_bytes > 0),
    started_us BIGINT NOT NULL,
    PRIMARY KEY (recorder_id, stream_id, sequence)
);

-- A stretch in which a stream was not recorded, and why.
CREATE TABLE gap (
    gap_id TEXT NOT NULL PRIMARY KEY,
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    start_us BIGINT NOT NULL,
    -- null while it lasts
    end_us BIGINT,
    -- archive::gap::GapCause
    cause TEXT NOT NULL,
    detail TEXT NOT NULL
);
CREATE INDEX gap_by_end ON gap (stream_id, end_us, start_us);

-- A segment that the edge deleted before the centre had it.
CREATE TABLE lost_segment (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    reason TEXT NOT NULL,
    PRIMARY KEY (stream_id, sequence, recorder_id)
);
