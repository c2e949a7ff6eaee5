//! Digests of a segment's file, of its init segment and of its fragments, in one pass over the bytes.

use archive::segment::{Digest, SegmentManifest};
use sha2::Digest as _;
use sha2::Sha256;

/// Compares bytes, as they come, with the digests of a manifest whose sizes were checked.
pub(super) struct Pieces {
    /// Digest of the whole as promised.
    expected: Digest,
    whole: Sha256,
    init: Option<Digest>,
    /// Pieces to come, the last first: where each begins and ends, and its digest if it is a fragment.
    to_come: Vec<(u64, u64, Option<Digest>)>,
    piece: Sha256,
    at: u64,
    is_good: bool,
}

impl Pieces {
    pub(super) fn new(manifest: &SegmentManifest) -> Self {
        let fragments = manifest.fragments.iter().rev().map(|f| {
            let end = f.offset_bytes + f.size_bytes;
            (f.offset_bytes, end, Some(f.sha256))
        });
        Self {
            expected: manifest.sha256,
            whole: Sha256::new(),
            init: None,
            to_come: fragments.chain([(0, manifest.init_size_bytes, None)]).collect(),
            piece: Sha256::new(),
            at: 0,
            is_good: true,
        }
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.whole.update(bytes);
        let end = self.at + bytes.len() as u64;
        while let Some(&(from, to, expected)) = self.to_come.last() {
            if from >= end {
                break;
            }
            let within = |position: u64| {
                let position = position.clamp(self.at, end) - self.at;
                usize::try_from(position).expect("it is within the bytes")
            };
            self.piece.update(&bytes[within(from)..within(to)]);
            if to > end {
                break;
            }
            self.to_come.pop();
            let found = Digest(std::mem::take(&mut self.piece).finalize().into());
            match expected {
                Some(expected) => self.is_good &= found == expected,
                None => self.init = Some(found),
            }
        }
        self.at = end;
    }

    /// Digest of the init segment, if all else is as promised.
    pub(super) fn finish(self) -> Option<Digest> {
        let is_whole = Digest(self.whole.finalize().into()) == self.expected;
        self.init
            .filter(|_| self.is_good && is_whole && self.to_come.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::segment::Fragment;
    use archive::time::MediaTime;

    fn manifest(bytes: &[u8]) -> SegmentManifest {
        let fragment = |from: usize, to: usize| Fragment {
            offset_bytes: from as u64,
            size_bytes: (to - from) as u64,
            start: MediaTime(0),
            duration_us: 1,
            is_keyframe: true,
            sha256: Digest::of(&bytes[from..to]),
        };
        SegmentManifest {
            key: archive::ids::SegmentKey {
                stream: "q1.front.main".parse().unwrap(),
                sequence: 1,
            },
            run: archive::ids::RunId::from_uuid(uuid::Uuid::nil()),
            size_bytes: bytes.len() as u64,
            init_size_bytes: 7,
            sha256: Digest::of(bytes),
            tracks: Vec::new(),
            // Between the two lie bytes that are in none.
            fragments: vec![fragment(7, 30), fragment(33, 50)],
        }
    }

    fn read(manifest: &SegmentManifest, bytes: &[u8], step: usize) -> Option<Digest> {
        let mut pieces = Pieces::new(manifest);
        for bytes in bytes.chunks(step) {
            pieces.update(bytes);
        }
        pieces.finish()
    }

    #[test]
    fn finds_the_digests_however_the_bytes_come() {
        let bytes: Vec<u8> = (0..60).collect();
        let manifest = manifest(&bytes);
        for step in 1..70 {
            assert_eq!(
                read(&manifest, &bytes, step),
                Some(Digest::of(&bytes[..7])),
                "{step}"
            );
        }
    }

    #[test]
    fn a_fragment_of_another_digest_is_found_though_the_whole_is_right() {
        let bytes: Vec<u8> = (0..60).collect();
        let mut wrong = manifest(&bytes);
        wrong.fragments[1].sha256 = Digest::of(b"another");
        assert_eq!(read(&wrong, &bytes, 16), None);
        let mut wrong = manifest(&bytes);
        wrong.sha256 = Digest::of(b"another");
        assert_eq!(read(&wrong, &bytes, 16), None);
        assert_eq!(read(&manifest(&bytes), &bytes[..40], 16), None);
    }
}
