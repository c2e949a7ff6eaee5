-- Times on the clock that is never set, beside the wall clock's: which start of the machine, microseconds since then.
-- They are null in what an older version wrote.
alter table anchor add column boot_id text check (length(boot_id) = 36);
alter table anchor add column boot_us integer;
alter table gap add column start_boot_id text check (length(start_boot_id) = 36);
alter table gap add column start_boot_us integer;
alter table gap add column end_boot_id text check (length(end_boot_id) = 36);
alter table gap add column end_boot_us integer;

-- Comparisons with the centre's clock, or with a time service, that told something new; they put all times of their boot right.
create table clock_sighting (
    boot_id text not null check (length(boot_id) = 36),
    boot_us integer not null,
    server_wall_us integer not null,                          -- the true time
    wall_us integer not null,                                 -- this machine's wall clock at the same moment
    round_trip_us integer not null check (round_trip_us >= 0),
    source text not null check (source in ('server', 'time_service')),  -- whose clock server_wall_us is
    primary key (boot_id, boot_us)
) strict, without rowid;
