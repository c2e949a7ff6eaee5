//! Real files of isofmp4mux and FFmpeg, whole, cut, damaged and made up.

use super::*;
use crate::segment::gop_ranges;
use crate::time::{MediaTime, WallTime};
use proptest::prelude::*;

const MUX_AAC: &[u8] = include_bytes!("../../fixtures/isofmp4mux-h264-aac.mp4");
const MUX_OPUS: &[u8] = include_bytes!("../../fixtures/isofmp4mux-h264-bframes-opus.mp4");
const FFMPEG_OPUS: &[u8] = include_bytes!("../../fixtures/ffmpeg-h264-bframes-opus.mp4");
const FFMPEG_PRFT: &[u8] = include_bytes!("../../fixtures/ffmpeg-h264-aac-prft.mp4");
const FFMPEG_HEVC: &[u8] = include_bytes!("../../fixtures/ffmpeg-h265.mp4");
const ALL: [&[u8]; 5] = [MUX_AAC, MUX_OPUS, FFMPEG_OPUS, FFMPEG_PRFT, FFMPEG_HEVC];

fn codecs(file: &[u8]) -> Vec<String> {
    let init = read_init(file).unwrap();
    init.tracks.into_iter().map(|t| t.track.codec).collect()
}

#[test]
fn names_codecs_as_rfc_6381_wants() {
    assert_eq!(codecs(MUX_AAC), ["avc1.4d400a", "mp4a.40.2"]);
    assert_eq!(codecs(MUX_OPUS), ["avc1.64000a", "opus"]);
    assert_eq!(codecs(FFMPEG_OPUS), ["avc1.64000a", "opus"]);
    assert_eq!(codecs(FFMPEG_HEVC), ["hvc1.1.6.L30.90"]);
}

#[test]
fn reads_what_tracks_are_like() {
    let init = read_init(MUX_AAC).unwrap();
    let [picture, sound] = &init.tracks()[..] else {
        panic!("two tracks");
    };
    assert_eq!((picture.width, picture.height, picture.timescale), (64, 48, 2500));
    assert_eq!(
        (sound.sample_rate, sound.channels, sound.timescale),
        (48_000, 1, 48_000)
    );
    assert_eq!(init.leading_track().track.track_id, picture.track_id);
    assert_eq!(&MUX_AAC[init.size_bytes as usize + 4..][..4], b"styp");
}

#[test]
fn reads_the_edit_that_hides_reordering() {
    let init = read_init(FFMPEG_OPUS).unwrap();
    assert_eq!(init.leading_track().edit_media_time, Some(2048));
    assert_eq!(read_init(MUX_OPUS).unwrap().leading_track().edit_media_time, None);
}

#[test]
fn fragments_of_a_gop_touch_and_only_its_first_is_a_keyframe() {
    for file in [MUX_AAC, MUX_OPUS] {
        let scan = scan_segment(file).unwrap();
        assert_eq!((scan.usable_bytes, &scan.stopped_by), (file.len() as u64, &None));
        let rows = fragment_rows(file, &scan, 0);
        for pair in rows.windows(2) {
            assert_eq!(pair[0].start + pair[0].duration_us, pair[1].start);
            assert_eq!(pair[0].offset_bytes + pair[0].size_bytes, pair[1].offset_bytes);
        }
        let gops = gop_ranges(&rows);
        let times: Vec<_> = gops.iter().map(|g| (g.start.0, g.duration_us)).collect();
        assert_eq!(times, [(0, 1_000_000), (1_000_000, 1_000_000)]);
    }
}

#[test]
fn open_gops_touch() {
    let scan = scan_segment(FFMPEG_HEVC).unwrap();
    let second = scan.fragments[1].tracks[0];
    assert!(
        second.min_pts < second.first_pts(),
        "the fixture has pictures before its keyframe"
    );
    let rows = fragment_rows(FFMPEG_HEVC, &scan, 200_000);
    let times: Vec<_> = rows
        .iter()
        .map(|r| (r.start.0, r.duration_us, r.is_keyframe))
        .collect();
    assert_eq!(times, [(0, 700_000, true), (700_000, 1_300_000, true)]);
}

#[test]
fn a_fragment_with_sound_alone_takes_no_time_of_the_picture() {
    let scan = scan_segment(MUX_AAC).unwrap();
    let last = fragment_rows(MUX_AAC, &scan, 0).pop().unwrap();
    assert_eq!((last.start, last.duration_us), (MediaTime(2_000_000), 0));
    assert!(!last.is_keyframe);
}

#[test]
fn a_file_cut_anywhere_keeps_its_whole_fragments() {
    for file in ALL {
        let whole = scan_segment(file).unwrap();
        for length in 0..file.len() {
            let cut = &file[..length];
            let scan = match scan_segment(cut) {
                Ok(scan) => scan,
                Err(error) => {
                    assert!(
                        error.is_incomplete() && (length as u64) < whole.init.size_bytes,
                        "{error}"
                    );
                    continue;
                }
            };
            let kept = whole.fragments.iter().filter(|f| f.end_bytes() <= length as u64);
            assert!(scan.fragments.iter().eq(kept), "cut to {length}");
            match scan.stopped_by {
                Some(Fmp4Error::Incomplete { needed_bytes, .. }) => assert!(needed_bytes > length as u64),
                Some(error) => panic!("cut to {length}: {error}"),
                None => assert!(scan.usable_bytes == length as u64 || scan.fragments == whole.fragments),
            }
        }
    }
}

#[test]
fn zeros_behind_a_torn_write_are_invalid_and_cut_off() {
    let mut file = MUX_AAC.to_vec();
    file.extend([0; 4096]);
    let scan = scan_segment(&file).unwrap();
    assert_eq!(scan.usable_bytes, MUX_AAC.len() as u64);
    assert!(
        matches!(scan.stopped_by, Some(Fmp4Error::Invalid { offset_bytes, .. })
        if offset_bytes == MUX_AAC.len() as u64)
    );
}

#[test]
fn each_damaged_byte_is_refused_or_read_within_bounds() {
    for file in ALL {
        let mut damaged = file.to_vec();
        for at in 0..file.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff] {
                damaged[at] = value;
                if let Ok(scan) = scan_segment(&damaged) {
                    assert!(scan.usable_bytes <= file.len() as u64);
                    let rows = fragment_rows(&damaged, &scan, 0);
                    assert_eq!(rows.len(), scan.fragments.len());
                }
            }
            damaged[at] = file[at];
        }
    }
}

#[test]
fn prft_before_moof_belongs_to_the_fragment() {
    let init = read_init(MUX_AAC).unwrap();
    let wall = WallTime::parse_rfc3339("2026-11-23T08:03:11.123457+07:00").unwrap();
    let prft = write_prft(1, wall, 2500);
    let plain = scan_segment(MUX_AAC).unwrap().fragments[0].clone();
    let start = init.size_bytes as usize;
    let bytes = [&prft[..], &MUX_AAC[start..]].concat();
    let found = next_fragment(&bytes, init.size_bytes, &init).unwrap().unwrap();
    assert_eq!(found.size_bytes, plain.size_bytes + 32);
    assert_eq!(found.tracks, plain.tracks);
    let reference = ProducerReference {
        track_id: 1,
        wall,
        media_time: 2500,
    };
    assert_eq!(found.reference, Some(reference));
    let alone = next_fragment(&prft, 700, &init).unwrap_err();
    assert!(
        matches!(
            alone,
            Fmp4Error::Incomplete {
                needed_bytes: 740,
                ..
            }
        ),
        "{alone}"
    );
}

#[test]
fn reads_the_prft_of_another_writer() {
    let scan = scan_segment(FFMPEG_PRFT).unwrap();
    let reference = scan.fragments[0].reference.unwrap();
    assert_eq!(reference.track_id, 1);
    assert_eq!(reference.wall.to_string()[..11], *"2026-11-23T");
}

fn made_box(kind: &[u8; 4], payload: &[u8]) -> Vec<u8> {
    [&(payload.len() as u32 + 8).to_be_bytes()[..], kind, payload].concat()
}

/// `moof` and an empty `mdat` with one `trun` for track 1.
fn made_fragment(decode_time: u64, trun: &[u8]) -> Vec<u8> {
    let tfhd = made_box(b"tfhd", &[[0, 2, 0, 8], [0, 0, 0, 1], [0, 0, 0, 100]].concat());
    let tfdt = made_box(b"tfdt", &[&[1, 0, 0, 0], &decode_time.to_be_bytes()[..]].concat());
    let traf = made_box(b"traf", &[tfhd, tfdt, made_box(b"trun", trun)].concat());
    let mfhd = made_box(b"mfhd", &[0, 0, 0, 0, 0, 0, 0, 7]);
    [made_box(b"moof", &[mfhd, traf].concat()), made_box(b"mdat", &[])].concat()
}

#[test]
fn four_thousand_million_samples_without_fields_take_no_time() {
    let init = read_init(MUX_AAC).unwrap();
    let bytes = made_fragment(5, &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    let found = next_fragment(&bytes, 0, &init).unwrap().unwrap();
    assert_eq!(found.tracks[0].sample_count, u64::from(u32::MAX));
    assert_eq!(found.tracks[0].duration, i64::from(u32::MAX) * 100);
}

#[test]
fn negative_composition_offsets_count() {
    let init = read_init(MUX_AAC).unwrap();
    let rows = [0i32, 200, -100].map(i32::to_be_bytes).concat();
    let trun = [&[1, 0, 8, 0, 0, 0, 0, 3], &rows[..]].concat();
    let found = next_fragment(&made_fragment(50, &trun), 0, &init)
        .unwrap()
        .unwrap();
    assert_eq!(found.tracks[0].min_pts, 50);
    let trun = [
        &[1, 0, 8, 0, 0, 0, 0, 3],
        &[0xff, 0xff, 0xff, 0x38][..],
        &rows[..8],
    ]
    .concat();
    let found = next_fragment(&made_fragment(50, &trun), 0, &init)
        .unwrap()
        .unwrap();
    assert_eq!(
        (found.tracks[0].min_pts, found.tracks[0].first_composition_offset),
        (-150, -200)
    );
}

#[test]
fn refuses_times_that_overflow_and_tables_that_are_short() {
    let init = read_init(MUX_AAC).unwrap();
    let one = [0, 0, 0, 0, 0, 0, 0, 1];
    for (decode_time, trun) in [
        (u64::MAX, &one[..]),
        (i64::MAX as u64, &one),
        (0, &[0, 0, 1, 0, 0, 0, 0, 9, 0, 0, 0, 1]),
        (0, &[0, 0, 2, 0, 0, 0, 0, 1, 0, 0, 0, 1]), // a sample of one byte, but mdat is empty
    ] {
        let error = next_fragment(&made_fragment(decode_time, trun), 0, &init).unwrap_err();
        assert!(matches!(error, Fmp4Error::Invalid { .. }), "{error}");
    }
}

#[test]
fn an_error_names_box_and_place() {
    let init = read_init(MUX_AAC).unwrap();
    let mut bytes = made_fragment(0, &[0, 0, 0, 0, 0, 0, 0, 1]);
    let track_id_at = 8 + 16 + 8 + 8 + 4;
    bytes[track_id_at + 3] = 9;
    let error = next_fragment(&bytes, 1000, &init).unwrap_err();
    assert_eq!(
        error.to_string(),
        "tfhd at byte 1032 is invalid: the init segment has no such track"
    );
}

#[test]
fn rounds_to_the_nearest_microsecond() {
    assert_eq!(media_time(1, 90_000, 0), MediaTime(11)); // 11.1
    assert_eq!(media_time(5, 90_000, 0), MediaTime(56)); // 55.6
    assert_eq!(media_time(1, 2_000_000, 0), MediaTime(1)); // 0.5 goes up
    assert_eq!(media_time(-1, 2_000_000, 0), MediaTime(0)); // -0.5 too
    assert_eq!(
        media_time(324_000_000_001, 90_000, 3_600_000_000_000),
        MediaTime(11)
    );
    assert_eq!(media_time(i64::MAX, 1, 0), MediaTime(i64::MAX));
}

proptest! {
    #[test]
    fn prft_gives_back_what_was_written(
        track_id: u32,
        wall_us in -60_000_000_000_000i64..4_200_000_000_000_000,
        media_time: u64,
    ) {
        let wall = WallTime(wall_us);
        let read = read_prft(&write_prft(track_id, wall, media_time)).unwrap();
        prop_assert_eq!(read, ProducerReference { track_id, wall, media_time });
    }

    #[test]
    fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let init = read_init(MUX_AAC).unwrap();
        let _ = read_init(&bytes);
        let _ = next_fragment(&bytes, 0, &init);
        let _ = read_prft(&bytes);
    }
}

#[test]
fn single_samples_are_those_that_a_fragment_counts_and_fill_its_mdat() {
    for file in ALL {
        let scan = scan_segment(file).unwrap();
        for fragment in &scan.fragments {
            let bytes = &file[fragment.offset_bytes as usize..fragment.end_bytes() as usize];
            let samples = fragment_samples(bytes, fragment.offset_bytes, &scan.init).unwrap();
            for run in &fragment.tracks {
                let of_track: Vec<_> = samples.iter().filter(|s| s.track_id == run.track_id).collect();
                assert_eq!(of_track.len() as u64, run.sample_count);
                let first = of_track.iter().map(|s| s.presentation_time).min();
                assert_eq!(first.unwrap_or(run.min_pts), run.min_pts);
                assert_eq!(of_track.first().is_some_and(|s| s.is_sync), run.is_first_sync);
            }
            let end = samples
                .iter()
                .map(|s| s.offset_bytes + u64::from(s.size_bytes))
                .max();
            assert_eq!(end, Some(fragment.end_bytes()));
        }
    }
}
