//! HLS media playlists (RFC 8216) over byte ranges of stored files. Pure.

use std::fmt::Write as _;

use archive::timeline::JOIN_US;

use super::Piece;

/// Whether a playlist is whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Nothing more is to come.
    Here,
    /// It grows while footage comes up; players ask again.
    MoreToCome,
}

/// The playlist of a plan: a break, and the time anew, wherever pieces do not touch.
pub fn playlist(pieces: &[Piece], ending: Ending) -> String {
    let longest_us = pieces.iter().map(|p| p.gop.duration_us).max().unwrap_or(0);
    let mut text = format!(
        "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:{}\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-PLAYLIST-TYPE:{}\n\
         #EXT-X-INDEPENDENT-SEGMENTS\n",
        (longest_us + 999_999) / 1_000_000,
        if ending == Ending::Here { "VOD" } else { "EVENT" },
    );
    let mut before: Option<&Piece> = None;
    for piece in pieces {
        let is_joined = before.is_some_and(|b| {
            b.run == piece.run && (b.gop.start + b.gop.duration_us - piece.gop.start).abs() <= JOIN_US
        });
        if before.is_some() && !is_joined {
            text.push_str("#EXT-X-DISCONTINUITY\n");
        }
        let address = format!("/api/v1/segments/{}/media.mp4", piece.segment);
        if before.is_none_or(|b| b.init_sha256 != piece.init_sha256) || !is_joined {
            lines(
                &mut text,
                format_args!(
                    "#EXT-X-MAP:URI=\"{address}\",BYTERANGE=\"{}@0\"",
                    piece.init_size_bytes
                ),
            );
        }
        let start = piece.start.timestamp();
        lines(&mut text, format_args!("#EXT-X-PROGRAM-DATE-TIME:{start:.3}"));
        lines(
            &mut text,
            format_args!("#EXTINF:{:.6},", piece.gop.duration_us as f64 / 1e6),
        );
        lines(
            &mut text,
            format_args!(
                "#EXT-X-BYTERANGE:{}@{}",
                piece.gop.size_bytes, piece.gop.offset_bytes
            ),
        );
        lines(&mut text, format_args!("{address}"));
        before = Some(piece);
    }
    if ending == Ending::Here {
        text.push_str("#EXT-X-ENDLIST\n");
    }
    text
}

fn lines(text: &mut String, line: std::fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("a text takes any line");
}

#[cfg(test)]
mod tests {
    use super::*;
    use archive::ids::RunId;
    use archive::segment::GopRange;
    use archive::time::{MediaTime, WallTime};

    fn piece(sequence: u64, run: u8, media_s: i64, wall_s: i64) -> Piece {
        Piece {
            segment: format!("rec-1.q01.front.main.{sequence}").parse().unwrap(),
            gop: GopRange {
                offset_bytes: 800,
                size_bytes: 5000,
                start: MediaTime(media_s * 1_000_000),
                duration_us: 2_000_000,
            },
            start: WallTime(1_700_000_000_000_000 + wall_s * 1_000_000),
            run: RunId::from_uuid(uuid::Uuid::from_bytes([run; 16])),
            init_sha256: "00".repeat(32),
            init_size_bytes: 800,
        }
    }

    #[test]
    fn breaks_and_names_the_time_anew_over_a_gap() {
        let text = playlist(
            &[piece(1, 1, 0, 0), piece(2, 1, 2, 2), piece(3, 2, 0, 60)],
            Ending::Here,
        );
        let expected = "#EXTM3U\n#EXT-X-VERSION:7\n#EXT-X-TARGETDURATION:2\n#EXT-X-MEDIA-SEQUENCE:0\n\
            #EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-INDEPENDENT-SEGMENTS\n\
            #EXT-X-MAP:URI=\"/api/v1/segments/rec-1.q01.front.main.1/media.mp4\",BYTERANGE=\"800@0\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:20.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:5000@800\n\
            /api/v1/segments/rec-1.q01.front.main.1/media.mp4\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:13:22.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:5000@800\n\
            /api/v1/segments/rec-1.q01.front.main.2/media.mp4\n\
            #EXT-X-DISCONTINUITY\n\
            #EXT-X-MAP:URI=\"/api/v1/segments/rec-1.q01.front.main.3/media.mp4\",BYTERANGE=\"800@0\"\n\
            #EXT-X-PROGRAM-DATE-TIME:2023-11-14T22:14:20.000Z\n#EXTINF:2.000000,\n#EXT-X-BYTERANGE:5000@800\n\
            /api/v1/segments/rec-1.q01.front.main.3/media.mp4\n\
            #EXT-X-ENDLIST\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn one_that_grows_has_no_end_yet() {
        let text = playlist(&[piece(1, 1, 0, 0)], Ending::MoreToCome);
        assert!(
            text.contains("PLAYLIST-TYPE:EVENT") && !text.contains("ENDLIST"),
            "{text}"
        );
    }
}
