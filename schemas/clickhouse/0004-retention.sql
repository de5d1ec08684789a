-- Rows past their time leave by merges that write whole parts anew: once a day is often enough.

ALTER TABLE spans MODIFY SETTING merge_with_ttl_timeout = 86400;

ALTER TABLE payloads MODIFY SETTING merge_with_ttl_timeout = 86400;

ALTER TABLE traces MODIFY SETTING merge_with_ttl_timeout = 86400;

ALTER TABLE rollups MODIFY SETTING merge_with_ttl_timeout = 86400;
