-- What makes footage provable at the centre: the recorders' chains, receipts for them, and a root over each day's receipts.

-- An entry of a stream's chain, kept as its recorder signed it; append-only.
CREATE TABLE chain_entry (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    number BIGINT NOT NULL CHECK (number > 0),
    -- SHA-256 of this entry and of the one before, hexadecimal
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    previous TEXT NOT NULL CHECK (length(previous) = 64),
    -- of archive::seal::ChainBody
    kind TEXT NOT NULL,
    -- the segment that it tells of, if it does
    sequence BIGINT,
    -- archive::seal::Signed, verbatim
    text TEXT NOT NULL,
    signature TEXT NOT NULL CHECK (length(signature) = 128),
    received_us BIGINT NOT NULL,
    PRIMARY KEY (recorder_id, stream_id, number)
);
CREATE INDEX chain_entry_by_segment ON chain_entry (recorder_id, stream_id, sequence, kind, number)
    WHERE sequence IS NOT NULL;

-- Where each chain ends.
CREATE TABLE chain_head (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    number BIGINT NOT NULL CHECK (number > 0),
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    -- number of the newest entry that has a receipt; 0: none
    receipted BIGINT NOT NULL DEFAULT 0 CHECK (receipted BETWEEN 0 AND number),
    PRIMARY KEY (recorder_id, stream_id)
);

-- What a recorder said that does not fit its chain, kept as evidence.
CREATE TABLE chain_conflict (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    -- as it said, even if there is no such stream
    stream_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    -- an entry that does not follow, or a segment that is not as an entry says
    kind TEXT NOT NULL CHECK (kind IN ('entry', 'segment')),
    -- of the entry, or of the segment's file
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    reason TEXT NOT NULL,
    -- the entry verbatim; null for a segment
    text TEXT,
    signature TEXT,
    seen_us BIGINT NOT NULL,
    PRIMARY KEY (recorder_id, stream_id, number, kind, hash)
);

-- The centre's word that it had seen a chain up to an entry; append-only.
CREATE TABLE receipt (
    -- UUIDv7
    receipt_id TEXT NOT NULL PRIMARY KEY,
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    stream_id TEXT NOT NULL REFERENCES stream (stream_id),
    number BIGINT NOT NULL CHECK (number > 0),
    head TEXT NOT NULL CHECK (length(head) = 64),
    received_us BIGINT NOT NULL,
    -- yyyy-mm-dd in the sites' zone: the day whose root holds it
    business_date TEXT NOT NULL CHECK (length(business_date) = 10),
    -- archive::seal::Signed, verbatim
    text TEXT NOT NULL,
    signature TEXT NOT NULL CHECK (length(signature) = 128),
    UNIQUE (recorder_id, stream_id, number)
);
CREATE INDEX receipt_by_day ON receipt (business_date, receipt_id);

-- The signed root over a day's receipts; append-only but for the time stamp.
CREATE TABLE day_root (
    -- yyyy-mm-dd in the sites' zone
    business_date TEXT NOT NULL PRIMARY KEY CHECK (length(business_date) = 10),
    receipts BIGINT NOT NULL CHECK (receipts >= 0),
    root TEXT NOT NULL CHECK (length(root) = 64),
    -- of the signed statement
    hash TEXT NOT NULL CHECK (length(hash) = 64),
    text TEXT NOT NULL,
    signature TEXT NOT NULL CHECK (length(signature) = 128),
    closed_us BIGINT NOT NULL,
    -- RFC 3161 token, DER in Base64, and the authority's time in it
    timestamp_token TEXT,
    stamped_us BIGINT
);
CREATE INDEX day_root_unstamped ON day_root (business_date) WHERE timestamp_token IS NULL;

-- Roots over 1,024 receipts each, so that a path needs only one block's receipts.
CREATE TABLE day_block (
    business_date TEXT NOT NULL REFERENCES day_root (business_date),
    block BIGINT NOT NULL CHECK (block >= 0),
    first_receipt_id TEXT NOT NULL REFERENCES receipt (receipt_id),
    root TEXT NOT NULL CHECK (length(root) = 64),
    PRIMARY KEY (business_date, block)
);

-- Merkle root over init segment and fragments, and how many leaves; null for what came before chains were kept.
ALTER TABLE segment ADD COLUMN merkle_root TEXT;
ALTER TABLE segment ADD COLUMN leaves BIGINT;
