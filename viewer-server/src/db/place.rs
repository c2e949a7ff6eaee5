//! Units, sites, counters and streams.

use std::collections::HashMap;

use archive::ids::{CounterId, RecorderId, SiteId, UnitId};
use archive::time::WallTime;
use archive::uplink::StreamDescription;

use super::{Db, DbResult, get, get_id, hold};
use crate::places::{Counter, Places, Site, Stream, Unit};

impl Db {
    /// Everything that has a place, as it is now.
    pub async fn places(&self, now: WallTime) -> DbResult<Places> {
        let mut units = HashMap::new();
        for row in sqlx::query(
            "SELECT unit_id, parent_id, name FROM unit
             WHERE valid_from_us <= $1 AND (valid_to_us IS NULL OR valid_to_us > $1)",
        )
        .bind(now.0)
        .fetch_all(&self.reader)
        .await?
        {
            let parent: Option<String> = get(&row, "parent_id")?;
            let unit = Unit {
                unit_id: get_id(&row, "unit_id")?,
                name: get(&row, "name")?,
                parent_id: parent.and_then(|p| p.parse().ok()),
            };
            units.insert(unit.unit_id.clone(), unit);
        }
        let mut sites = HashMap::new();
        for row in sqlx::query("SELECT site_id, unit_id, name, address FROM site")
            .fetch_all(&self.reader)
            .await?
        {
            let site = Site {
                site_id: get_id(&row, "site_id")?,
                unit_id: get_id(&row, "unit_id")?,
                name: get(&row, "name")?,
                address: get(&row, "address")?,
            };
            sites.insert(site.site_id.clone(), site);
        }
        let mut counters = HashMap::new();
        for row in sqlx::query("SELECT counter_id, site_id, name FROM counter")
            .fetch_all(&self.reader)
            .await?
        {
            let counter = Counter {
                counter_id: get_id(&row, "counter_id")?,
                site_id: get_id(&row, "site_id")?,
                name: get(&row, "name")?,
            };
            counters.insert(counter.counter_id.clone(), counter);
        }
        let mut streams = HashMap::new();
        for row in sqlx::query(
            "SELECT stream_id, recorder_id, has_audio, video_codec, audio_codec, width, height, footage_until_us
             FROM stream",
        )
        .fetch_all(&self.reader)
        .await?
        {
            let stream = Stream {
                stream_id: get_id(&row, "stream_id")?,
                recorder_id: get_id(&row, "recorder_id")?,
                has_audio: get::<i64>(&row, "has_audio")? == 1,
                video_codec: get(&row, "video_codec")?,
                audio_codec: get(&row, "audio_codec")?,
                width: get(&row, "width")?,
                height: get(&row, "height")?,
                footage_until: get::<Option<i64>>(&row, "footage_until_us")?.map(WallTime),
            };
            streams.insert(stream.stream_id.clone(), stream);
        }
        Ok(Places::new(units, sites, counters, streams))
    }

    /// Adds a unit, or renames and moves it.
    pub async fn put_unit(
        &self,
        unit: &UnitId,
        name: &str,
        parent: Option<&UnitId>,
        now: WallTime,
    ) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO unit (unit_id, parent_id, name, valid_from_us) VALUES ($1, $2, $3, $4)
             ON CONFLICT (unit_id) DO UPDATE SET parent_id = excluded.parent_id, name = excluded.name",
        )
        .bind(unit.as_str())
        .bind(parent.map(|p| p.as_str().to_owned()))
        .bind(name)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Adds a site, or renames and moves it.
    pub async fn put_site(
        &self,
        site: &SiteId,
        unit: &UnitId,
        name: &str,
        address: Option<&str>,
    ) -> DbResult<()> {
        sqlx::query(
            "INSERT INTO site (site_id, unit_id, name, address) VALUES ($1, $2, $3, $4)
             ON CONFLICT (site_id) DO UPDATE SET unit_id = excluded.unit_id, name = excluded.name,
                 address = excluded.address",
        )
        .bind(site.as_str())
        .bind(unit.as_str())
        .bind(name)
        .bind(address.map(str::to_owned))
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    /// Takes over the counters and streams that a recorder says it serves; returns the counter of
    /// the first that belongs to another site, in which case nothing is changed.
    pub async fn register_streams(
        &self,
        recorder: &RecorderId,
        site: &SiteId,
        streams: &[StreamDescription],
    ) -> DbResult<Result<(), CounterId>> {
        let mut tx = self.write().await?;
        let mut has_more = false;
        for described in streams {
            let counter = described.stream.counter();
            let known = sqlx::query("SELECT stream_id FROM stream WHERE stream_id = $1 AND recorder_id = $2")
                .bind(described.stream.as_str())
                .bind(recorder.as_str())
                .fetch_optional(&mut *tx)
                .await?;
            has_more |= known.is_none();
            sqlx::query(
                "INSERT INTO counter (counter_id, site_id, name) VALUES ($1, $2, $3)
                 ON CONFLICT (counter_id) DO UPDATE SET name = excluded.name
                 WHERE counter.site_id = excluded.site_id AND counter.name <> excluded.name",
            )
            .bind(counter.as_str())
            .bind(site.as_str())
            .bind(described.counter_name.as_str())
            .execute(&mut *tx)
            .await?;
            let row = sqlx::query("SELECT site_id FROM counter WHERE counter_id = $1")
                .bind(counter.as_str())
                .fetch_one(&mut *tx)
                .await?;
            if get::<&str>(&row, "site_id")? != site.as_str() {
                tx.rollback().await?;
                return Ok(Err(counter));
            }
            sqlx::query(
                "INSERT INTO stream (stream_id, counter_id, recorder_id, has_audio) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (stream_id) DO UPDATE SET recorder_id = excluded.recorder_id,
                     has_audio = excluded.has_audio",
            )
            .bind(described.stream.as_str())
            .bind(counter.as_str())
            .bind(recorder.as_str())
            .bind(i64::from(described.has_audio))
            .execute(&mut *tx)
            .await?;
        }
        if has_more {
            // Whoever records a counter from now on must know what of it is held.
            hold::order_holds(&mut tx, recorder).await?;
        }
        tx.commit().await?;
        Ok(Ok(()))
    }
}
