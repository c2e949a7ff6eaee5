//! The proof of a film.

use archive::seal::export::{ExportProof, ExportedSegment, ReceiptProof};
use archive::seal::signed::Purpose;
use archive::seal::{PublicKey, Signed};

use super::{ExportError, Film};
use crate::centre::Centre;
use crate::db::{DbError, ExportRow};

/// Entries read in one question.
const PAGE: i64 = 1000;

impl Centre {
    /// Puts together and signs what a stranger needs to check a film.
    pub(super) async fn prove(
        &self,
        export: &ExportRow,
        film: &Film,
        segments: Vec<ExportedSegment>,
    ) -> Result<Signed, ExportError> {
        let (recorder, stream) = (&film.recorder, &film.stream);
        let not_sealed = || ExportError::NotSealed {
            segment: stream.to_string(),
        };
        let first = segments.first().map(|s| s.entry).ok_or_else(not_sealed)?;
        let last = segments.last().map(|s| s.entry).ok_or_else(not_sealed)?;
        let covering = self.db.receipt_from(recorder, stream, last).await?;
        let covering = covering.ok_or_else(not_sealed)?;
        let earliest = self.db.receipt_from(recorder, stream, first).await?;
        let mut receipts = Vec::new();
        // The earliest tells when the centre first saw of it, the other covers all.
        for row in earliest
            .filter(|e| e.number < covering.number)
            .into_iter()
            .chain([covering.clone()])
        {
            receipts.push(ReceiptProof {
                day: self.day_proof(&row).await?,
                receipt: row.receipt,
            });
        }
        let mut chain = Vec::new();
        let mut from = first;
        while from <= covering.number {
            let entries = self
                .db
                .chain(recorder, stream, from, covering.number, PAGE)
                .await?;
            if entries.is_empty() {
                return Err(DbError::damaged("chain_entry", format!("{stream} has no entry {from}")).into());
            }
            from += entries.len() as u64;
            chain.extend(entries);
        }
        let places = self.places().await?;
        let counter = places.counter(&export.counter);
        let row = self.db.recorder(recorder).await?;
        let (Some(counter), Some(row)) = (counter, row) else {
            return Err(ExportError::NoRecording);
        };
        let proof = ExportProof {
            version: 1,
            export_id: export.export_id,
            exported: self.now(),
            site: counter.site_id.clone(),
            counter: export.counter.clone(),
            counter_name: counter.name.clone(),
            stream: stream.clone(),
            run: film.run.clone(),
            recorder: recorder.clone(),
            recorder_key: row
                .public_key
                .parse()
                .map_err(|e| DbError::damaged("recorder.public_key", e))?,
            centre_key: PublicKey::from(&self.key),
            asked_from: export.window.start,
            asked_to: export.window.end,
            segments,
            chain,
            receipts,
        };
        Ok(Signed::new(Purpose::Export, &self.key, &proof))
    }
}
