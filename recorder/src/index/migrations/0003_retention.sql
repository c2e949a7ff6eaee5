-- How long footage stays, and what a person should mend.

-- Stretches of a counter's footage that are of worth (archive::uplink::Mark).
create table mark (
    mark_id text primary key,                                 -- the interaction's or the hold's id
    kind text not null check (kind in ('interaction', 'hold')),
    counter text not null,
    from_us integer not null,                                 -- UTC microseconds, as told
    to_us integer,                                            -- null while it goes on
    keep_from_us integer not null,                            -- with the roll before
    keep_to_us integer not null                               -- with the roll behind; far away while it goes on
) strict;
create index mark_by_counter on mark (counter, kind, keep_from_us, keep_to_us);

-- A segment's place on the wall clock, from sealing on, by the anchors known then.
alter table segment add column start_wall_us integer;
alter table segment add column end_wall_us integer;
-- What it is kept as. Follows the marks; a deletion looks at the holds themselves.
alter table segment add column class text not null default 'continuous'
    check (class in ('continuous', 'interaction', 'held'));
alter table segment add column counter text
    generated always as (substr(stream, 1, instr(stream, '.') - 1)) virtual;
create index segment_by_counter on segment (counter, start_wall_us) where state <> 'tombstone';
-- The oldest of each class first; what has expired; how much there is of each.
create index segment_by_class on segment (class, state, segment_id) where state not in ('recording', 'tombstone');
create index segment_by_end on segment (class, state, end_wall_us, start_wall_us, size_bytes)
    where state not in ('recording', 'tombstone');

-- Tombstones whose file may still be there: a crash can come between the row and the removal.
create table removal (
    segment_id integer primary key references segment (segment_id)
) strict;

-- What is wrong at this recorder (archive::alert::Alert).
create table alert (
    alert_id text primary key check (length(alert_id) = 36),
    kind text not null,
    stream text not null,                                     -- empty: the recorder as a whole
    start_wall_us integer not null,
    end_wall_us integer,                                      -- null while it lasts
    detail text not null
) strict;
create unique index alert_open on alert (kind, stream) where end_wall_us is null;
