-- Counter events as they came, and the interactions derived from them.

-- A counter event, append-only.
CREATE TABLE event (
    source TEXT NOT NULL CHECK (length(source) BETWEEN 1 AND 200),
    id TEXT NOT NULL CHECK (length(id) BETWEEN 1 AND 200),
    event_type TEXT NOT NULL,
    site_id TEXT NOT NULL REFERENCES site (site_id),
    -- as the source named it; an edge event may name a counter that is not known yet
    counter_id TEXT NOT NULL,
    -- by the clock of the device
    device_us BIGINT NOT NULL,
    -- when recorder or server got it
    received_us BIGINT NOT NULL,
    -- when it counts to have happened: device time unless that lies ahead of receipt
    at_us BIGINT NOT NULL,
    -- folded code of the dossier that it names
    dossier_folded TEXT,
    -- CloudEvents JSON as it came
    body TEXT NOT NULL,
    PRIMARY KEY (source, id)
);
CREATE INDEX event_by_site ON event (site_id, at_us);
CREATE INDEX event_by_counter ON event (counter_id, at_us);
CREATE INDEX event_by_dossier ON event (dossier_folded, at_us) WHERE dossier_folded IS NOT NULL;

-- Business days whose interactions must be derived anew; written with the events, removed with the interactions.
CREATE TABLE derivation_due (
    site_id TEXT NOT NULL REFERENCES site (site_id),
    -- yyyy-mm-dd at the site
    business_date TEXT NOT NULL CHECK (length(business_date) = 10),
    PRIMARY KEY (site_id, business_date)
);

-- Procedures and officers that some interaction names: what the search box knows by name.
CREATE TABLE vocabulary (
    -- digest of kind and folded name or code
    term_id TEXT NOT NULL PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('procedure', 'officer')),
    -- staff code of an officer, empty for a procedure
    code TEXT NOT NULL,
    -- as people write it; empty for an officer of whom no name is known
    label TEXT NOT NULL,
    changed_us BIGINT NOT NULL
);
CREATE INDEX vocabulary_by_change ON vocabulary (changed_us);

-- One person served at one counter; derived, so it can be rebuilt from event at any time.
CREATE TABLE interaction (
    interaction_id TEXT NOT NULL PRIMARY KEY,
    site_id TEXT NOT NULL REFERENCES site (site_id),
    counter_id TEXT NOT NULL,
    -- yyyy-mm-dd at the site
    business_date TEXT NOT NULL CHECK (length(business_date) = 10),
    state TEXT NOT NULL,
    -- when it began at the counter; lists go by it
    began_us BIGINT NOT NULL,
    -- footage to play; end null while open
    start_us BIGINT NOT NULL,
    end_us BIGINT,
    -- while open: when it counts as forgotten
    open_until_us BIGINT,
    -- folded; the number without leading zeros
    ticket_series TEXT,
    ticket_number TEXT,
    -- vocabulary
    procedure_id TEXT,
    officer_id TEXT,
    -- 0 worst to 100 best
    rating_percent DOUBLE PRECISION,
    predecessor_id TEXT,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    -- JSON of archive::interaction::Interaction
    body TEXT NOT NULL
);
CREATE INDEX interaction_by_began ON interaction (began_us, interaction_id, site_id, rating_percent);
CREATE INDEX interaction_by_site ON interaction (site_id, began_us, interaction_id);
CREATE INDEX interaction_by_day ON interaction (site_id, business_date);
CREATE INDEX interaction_by_counter ON interaction (counter_id, began_us, interaction_id);
CREATE INDEX interaction_by_ticket ON interaction (ticket_number, began_us, interaction_id, ticket_series, site_id);
CREATE INDEX interaction_by_procedure ON interaction (procedure_id, began_us, interaction_id, site_id);
CREATE INDEX interaction_by_officer ON interaction (officer_id, began_us, interaction_id, site_id, procedure_id);
CREATE INDEX interaction_by_predecessor ON interaction (predecessor_id) WHERE predecessor_id IS NOT NULL;
CREATE INDEX interaction_open ON interaction (open_until_us) WHERE open_until_us IS NOT NULL;

-- Which dossiers an interaction handled.
CREATE TABLE interaction_dossier (
    interaction_id TEXT NOT NULL REFERENCES interaction (interaction_id) ON DELETE CASCADE,
    code TEXT NOT NULL,
    folded TEXT NOT NULL,
    began_us BIGINT NOT NULL,
    site_id TEXT NOT NULL,
    PRIMARY KEY (interaction_id, code)
);
CREATE INDEX interaction_dossier_by_code ON interaction_dossier (folded, began_us, interaction_id, site_id);

-- What each derivation changed; stays when the interaction goes.
CREATE TABLE interaction_revision (
    interaction_id TEXT NOT NULL,
    revision BIGINT NOT NULL CHECK (revision >= 1),
    at_us BIGINT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('appeared', 'changed', 'vanished')),
    -- the event that caused it; null if only time passed
    cause_source TEXT,
    cause_id TEXT,
    -- JSON list of archive::interaction::FieldChange
    changes TEXT NOT NULL,
    PRIMARY KEY (interaction_id, revision)
);
