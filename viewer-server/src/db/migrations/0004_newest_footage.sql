-- Where the newest footage of a stream that has arrived ends; null while none has.
ALTER TABLE stream ADD COLUMN footage_until_us BIGINT;
UPDATE stream SET footage_until_us =
    (SELECT end_us FROM segment WHERE segment.stream_id = stream.stream_id ORDER BY start_us DESC LIMIT 1);
