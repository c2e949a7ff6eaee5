-- Footage taken out of the archive with its proof, and the file until it expires.
CREATE TABLE export (
    -- UUIDv7
    export_id TEXT NOT NULL PRIMARY KEY,
    -- who asked for it, and by which role
    username TEXT NOT NULL REFERENCES user_account (username),
    role TEXT NOT NULL,
    counter_id TEXT NOT NULL REFERENCES counter (counter_id),
    -- JSON list of the streams
    streams TEXT NOT NULL,
    from_us BIGINT NOT NULL,
    to_us BIGINT NOT NULL CHECK (to_us > from_us),
    state TEXT NOT NULL CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    created_us BIGINT NOT NULL,
    -- the file, or what is left of a failure, goes then
    expires_us BIGINT NOT NULL,
    done_bytes BIGINT NOT NULL DEFAULT 0 CHECK (done_bytes >= 0),
    -- footage to be read; an upper bound
    total_bytes BIGINT NOT NULL CHECK (total_bytes >= 0),
    -- the server that builds it, and until when it said so; a server that dies lets go of it
    lease TEXT,
    lease_until_us BIGINT,
    failure_code TEXT,
    failure_detail TEXT,
    -- what people save it as, its length and its SHA-256; null until done
    file_name TEXT,
    file_bytes BIGINT CHECK (file_bytes > 0),
    file_sha256 TEXT CHECK (length(file_sha256) = 64),
    -- JSON of viewer_server::export::Content: the films in it, and what no footage shows
    content TEXT
);
CREATE INDEX export_by_state ON export (state, created_us);
CREATE INDEX export_by_person ON export (username, created_us);
CREATE INDEX export_by_expiry ON export (expires_us);
