-- Who may do what, who is signed in, and who saw footage.

CREATE TABLE user_account (
    -- lower case
    username TEXT NOT NULL PRIMARY KEY CHECK (length(username) BETWEEN 1 AND 64),
    display_name TEXT NOT NULL,
    -- Argon2id in PHC form
    password_hash TEXT NOT NULL,
    created_us BIGINT NOT NULL,
    disabled_us BIGINT
);

-- A role over a unit and everything below it.
CREATE TABLE role_grant (
    username TEXT NOT NULL REFERENCES user_account (username),
    role TEXT NOT NULL CHECK (role IN ('leader', 'complaint_handler', 'auditor', 'officer', 'administrator',
        'integrator', 'data_protection_officer')),
    unit_id TEXT NOT NULL REFERENCES unit (unit_id),
    granted_us BIGINT NOT NULL,
    PRIMARY KEY (username, role, unit_id)
);

-- A signed-in browser; the cookie's value is not kept, only its digest.
CREATE TABLE session (
    token_hash TEXT NOT NULL PRIMARY KEY CHECK (length(token_hash) = 64),
    username TEXT NOT NULL REFERENCES user_account (username),
    created_us BIGINT NOT NULL,
    last_used_us BIGINT NOT NULL,
    expires_us BIGINT NOT NULL
);
CREATE INDEX session_by_expiry ON session (expires_us);

-- A bearer token of an integrator; only its digest is kept.
CREATE TABLE token (
    token_hash TEXT NOT NULL PRIMARY KEY CHECK (length(token_hash) = 64),
    token_id TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL CHECK (scope IN ('events:write')),
    created_us BIGINT NOT NULL,
    revoked_us BIGINT
);

-- Every read of footage, append-only.
CREATE TABLE access_log (
    access_id TEXT NOT NULL PRIMARY KEY,
    at_us BIGINT NOT NULL,
    username TEXT NOT NULL,
    -- the role by which it was allowed
    role TEXT NOT NULL,
    action TEXT NOT NULL CHECK (action IN ('playlist', 'still', 'live')),
    stream_id TEXT NOT NULL,
    -- the span seen; null for live
    from_us BIGINT,
    to_us BIGINT
);
CREATE INDEX access_log_by_time ON access_log (at_us);
CREATE INDEX access_log_by_stream ON access_log (stream_id, at_us);
