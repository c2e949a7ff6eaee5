-- Where the index has read each stream's chain.log; the log may be ahead of it, never behind.
create table chain (
    stream text primary key,
    number integer not null check (number > 0),               -- of the newest entry
    hash blob not null check (length(hash) = 32),             -- of the newest entry
    size_bytes integer not null check (size_bytes > 0),       -- of chain.log up to and with that entry
    settings text check (json_valid(settings))                -- the newest `settings` entry: software and settings
) strict;

-- The chain's entry that tells of the segment's sealing.
alter table segment add column chain_number integer check (chain_number > 0);
-- Whether an entry of the chain tells of the anchor.
alter table anchor add column is_chained integer not null default 0 check (is_chained in (0, 1));
create index anchor_unchained on anchor (run_id) where is_chained = 0;

-- Gaps that no log could be told of, as its disk failed; the next entry that can be written goes behind them.
create table untold (
    untold_id integer primary key,
    stream text not null,
    body text not null check (json_valid(body))               -- archive::seal::ChainBody
) strict;
