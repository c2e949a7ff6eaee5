-- Clocks of recorders compared with ours, and times put right by that. What a recorder said stays beside it.

-- half of it is the doubt of clock_offset_us
ALTER TABLE recorder ADD COLUMN clock_round_trip_us BIGINT CHECK (clock_round_trip_us >= 0);

-- The true time at a moment of a boot of a recorder's machine.
CREATE TABLE clock_sighting (
    recorder_id TEXT NOT NULL REFERENCES recorder (recorder_id),
    boot_id TEXT NOT NULL CHECK (length(boot_id) = 36),
    -- since the boot, on a clock that is never set
    boot_us BIGINT NOT NULL,
    server_wall_us BIGINT NOT NULL,
    -- what the recorder's wall clock showed at that moment
    recorder_wall_us BIGINT NOT NULL,
    round_trip_us BIGINT NOT NULL CHECK (round_trip_us >= 0),
    -- whose clock server_wall_us is
    source TEXT NOT NULL CHECK (source IN ('server', 'time_service')),
    PRIMARY KEY (recorder_id, boot_id, boot_us)
);

-- A run lies within one boot.
ALTER TABLE run ADD COLUMN boot_id TEXT;
CREATE INDEX run_by_boot ON run (boot_id, recorder_id) WHERE boot_id IS NOT NULL;

-- wall_us on the clock that is never set; null from recorders that did not tell
ALTER TABLE anchor ADD COLUMN boot_us BIGINT;
-- the true time, where wall_us is certainly off; null where it is believed. steered_us follows it
ALTER TABLE anchor ADD COLUMN corrected_us BIGINT;

CREATE INDEX segment_by_run ON segment (run_id, end_media_us);

-- start_us and end_us are the true times; these are what the recorder said, null if that is the same
ALTER TABLE gap ADD COLUMN said_start_us BIGINT;
ALTER TABLE gap ADD COLUMN said_end_us BIGINT;
ALTER TABLE gap ADD COLUMN start_boot_id TEXT;
ALTER TABLE gap ADD COLUMN start_boot_us BIGINT;
ALTER TABLE gap ADD COLUMN end_boot_id TEXT;
ALTER TABLE gap ADD COLUMN end_boot_us BIGINT;
CREATE INDEX gap_by_start_boot ON gap (start_boot_id, start_boot_us) WHERE start_boot_id IS NOT NULL;
CREATE INDEX gap_by_end_boot ON gap (end_boot_id, end_boot_us) WHERE end_boot_id IS NOT NULL;

-- who received it and when by the clock that is never set; null for what came to us directly
ALTER TABLE event ADD COLUMN recorder_id TEXT;
ALTER TABLE event ADD COLUMN boot_id TEXT;
ALTER TABLE event ADD COLUMN boot_us BIGINT;
-- what must be added to received_us and device_us to have the true times; at_us has it already
ALTER TABLE event ADD COLUMN received_fix_us BIGINT NOT NULL DEFAULT 0;
ALTER TABLE event ADD COLUMN device_fix_us BIGINT NOT NULL DEFAULT 0;
CREATE INDEX event_by_boot ON event (boot_id, boot_us) WHERE boot_id IS NOT NULL;
