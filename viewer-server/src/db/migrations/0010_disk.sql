-- What is wrong at the recorders, and footage that must not be deleted.

-- Something that a person should mend; as its recorder last told.
CREATE TABLE alert (
    alert_id TEXT NOT NULL PRIMARY KEY,
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    -- null: the recorder as a whole
    stream_id TEXT REFERENCES stream (stream_id),
    -- archive::alert::AlertKind
    kind TEXT NOT NULL,
    start_us BIGINT NOT NULL,
    -- null while it lasts
    end_us BIGINT,
    -- what was measured
    detail TEXT NOT NULL
);
CREATE INDEX alert_open ON alert (recorder_id) WHERE end_us IS NULL;

-- seconds until only footage that must stay would be left on its disk; null: never, or not known
ALTER TABLE recorder ADD COLUMN disk_left_s BIGINT CHECK (disk_left_s >= 0);

-- Footage of a counter that nobody deletes, in all its streams, until it is released.
CREATE TABLE hold (
    hold_id TEXT NOT NULL PRIMARY KEY,
    counter_id TEXT NOT NULL REFERENCES counter (counter_id),
    from_us BIGINT NOT NULL,
    to_us BIGINT NOT NULL CHECK (to_us > from_us),
    -- for people, e.g. the number of a case
    reason TEXT NOT NULL CHECK (length(reason) BETWEEN 1 AND 500),
    placed_by TEXT NOT NULL,
    placed_us BIGINT NOT NULL,
    -- null while it is in force
    released_by TEXT,
    released_us BIGINT,
    CHECK ((released_by IS NULL) = (released_us IS NULL))
);
CREATE INDEX hold_by_counter ON hold (counter_id, from_us);
CREATE INDEX hold_in_force ON hold (counter_id) WHERE released_us IS NULL;
