-- How each counter did each day: the recorders' signed reports, and footage that was retrieved to try the whole path.

-- The newest report of a counter's day, verbatim and verified (archive::health::HealthReport).
CREATE TABLE health_report (
    counter_id TEXT NOT NULL REFERENCES counter (counter_id),
    -- the site's date, as the recorder counts it: YYYY-MM-DD
    date TEXT NOT NULL CHECK (length(date) = 10),
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    -- archive::seal::Signed
    text TEXT NOT NULL,
    signature TEXT NOT NULL CHECK (length(signature) = 128),
    -- how far it goes
    to_us BIGINT NOT NULL,
    is_final BIGINT NOT NULL CHECK (is_final IN (0, 1)),
    received_us BIGINT NOT NULL,
    PRIMARY KEY (counter_id, date, recorder_id)
);

-- The newest try of a day to retrieve a stream's footage: read from the store, compared with its digest, decoded.
CREATE TABLE retrieval (
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    -- the centre's business date
    date TEXT NOT NULL CHECK (length(date) = 10),
    checked_us BIGINT NOT NULL,
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    sequence BIGINT NOT NULL CHECK (sequence > 0),
    is_whole BIGINT NOT NULL CHECK (is_whole IN (0, 1)),
    -- what was found
    detail TEXT NOT NULL,
    -- the alert that a failure raised
    alert_id TEXT,
    PRIMARY KEY (stream_id, date)
);
