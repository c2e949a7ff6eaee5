-- What was seen of each counter on each day, and the newest signed report of it (archive::health::HealthReport).
create table health_day (
    counter text not null,
    date text not null check (length(date) = 10),             -- the site's date
    counted text not null check (json_valid(counted)),        -- health::day::Day
    signed text check (json_valid(signed)),                   -- archive::seal::Signed; null before the first report
    is_final integer not null default 0 check (is_final in (0, 1)),
    primary key (counter, date)
) strict, without rowid;

-- Finds what events say of a counter's service without reading all of them.
create index event_of_service on event (json_extract(json, '$.subject'), received_wall_us)
    where json_extract(json, '$.type') in ('counter.opened', 'counter.closed', 'counter.paused');
