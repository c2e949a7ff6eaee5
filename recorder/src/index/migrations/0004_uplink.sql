-- What goes up to the centre, and in which order.

-- The program names the settings.
create table setting_wider (
    name text primary key check (length(name) between 1 and 40),
    value text not null
) strict;
insert into setting_wider (name, value) select name, value from setting;
drop table setting;
alter table setting_wider rename to setting;

-- What of each stream goes up without being asked for, as set up when the recorder started.
create table upload_rule (
    stream text primary key,
    policy text not null check (policy in ('everything', 'interactions', 'on_demand')),
    pre_us integer not null check (pre_us >= 0),              -- that go up before a mark
    post_us integer not null check (post_us >= 0)             -- and behind it
) strict;

-- 0: stays here until it is fetched; 1: goes up; 2: shows what is marked, goes up before others.
-- Follows the rules and the marks.
alter table segment add column worth integer not null default 1 check (worth between 0 and 2);
create index segment_to_upload on segment (state, worth, end_wall_us) where state in ('sealed', 'uploading');
create index segment_to_fetch on segment (stream, start_wall_us) where state in ('sealed', 'uploading');
create index segment_waiting on segment (stream, worth) where state in ('sealed', 'uploading');
create index mark_by_start on mark (counter, kind, from_us);

-- Footage that somebody waits for, in the order in which it was asked for.
create table fetch (
    number integer primary key autoincrement,
    request text not null unique check (length(request) = 36),
    stream text not null,
    from_wall_us integer not null,
    to_wall_us integer not null check (to_wall_us > from_wall_us)
) strict;
