-- What recorders are told, what only they hold, and what people fetch from them.

-- An order to a recorder that it has not acknowledged.
CREATE TABLE edge_order (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    -- 1, 2, 3 and so on without holes for each recorder
    number BIGINT NOT NULL CHECK (number > 0),
    -- JSON of archive::uplink::Order
    body TEXT NOT NULL,
    PRIMARY KEY (recorder_id, number)
);

-- number of the last order that was given; the row lock that numbers them
ALTER TABLE recorder ADD COLUMN orders_given BIGINT NOT NULL DEFAULT 0 CHECK (orders_given >= 0);
-- number of the last order that the recorder has stored
ALTER TABLE recorder ADD COLUMN orders_stored BIGINT NOT NULL DEFAULT 0 CHECK (orders_stored >= 0);

-- A sealed segment that its recorder has told of and the centre does not have.
CREATE TABLE edge_segment (
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    run_id TEXT NOT NULL,
    -- wall time by the run's anchors
    start_us BIGINT NOT NULL,
    end_us BIGINT NOT NULL,
    -- position in the run
    start_media_us BIGINT NOT NULL,
    end_media_us BIGINT NOT NULL CHECK (end_media_us >= start_media_us),
    size_bytes BIGINT NOT NULL CHECK (size_bytes > 0),
    -- SHA-256 of the file, hexadecimal
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    PRIMARY KEY (stream_id, sequence, recorder_id)
);
CREATE INDEX edge_segment_by_time ON edge_segment
    (stream_id, start_us, end_us, run_id, start_media_us, end_media_us, size_bytes);

-- Somebody asked for footage that is at the recorder only.
CREATE TABLE footage_fetch (
    fetch_id TEXT NOT NULL PRIMARY KEY,
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    from_us BIGINT NOT NULL,
    to_us BIGINT NOT NULL CHECK (to_us > from_us),
    username TEXT NOT NULL,
    made_us BIGINT NOT NULL,
    -- number of the order that tells the recorder
    order_number BIGINT NOT NULL,
    -- null while it goes on
    ended_us BIGINT,
    outcome TEXT CHECK (outcome IN ('done', 'failed', 'cancelled')),
    -- why it failed
    reason TEXT,
    CHECK ((ended_us IS NULL) = (outcome IS NULL))
);
CREATE INDEX fetch_open ON footage_fetch (recorder_id) WHERE ended_us IS NULL;
CREATE INDEX fetch_by_stream ON footage_fetch (stream_id, to_us);

-- More is written down than was thought of first: the program names the actions.
CREATE TABLE access_log_wider (
    access_id TEXT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    username TEXT NOT NULL,
    -- the role by which it was allowed
    role TEXT NOT NULL,
    -- 'playlist', 'still', 'live', 'fetch' and so on
    action TEXT NOT NULL CHECK (length(action) BETWEEN 1 AND 40),
    stream_id TEXT NOT NULL,
    -- the span seen; null for live
    from_us BIGINT,
    to_us BIGINT
);
INSERT INTO access_log_wider (access_id, at_us, username, role, action, stream_id, from_us, to_us)
    SELECT access_id, at_us, username, role, action, stream_id, from_us, to_us FROM access_log;
DROP TABLE access_log;
ALTER TABLE access_log_wider RENAME TO access_log;
CREATE INDEX access_log_by_time ON access_log (at_us);
CREATE INDEX access_log_by_stream ON access_log (stream_id, at_us);
