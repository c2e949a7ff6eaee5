//! A keyframe as JPEG. The only file that calls libav.

use std::path::Path;
use std::sync::Once;

use ffmpeg_next as libav;
use libav::codec::{Id, context, encoder};
use libav::format::Pixel;
use libav::software::scaling::{self, Flags};
use libav::util::frame::video::Video;

/// Why a picture could not be made.
#[derive(Debug, thiserror::Error)]
pub enum JpegError {
    /// libav refused.
    #[error("making a still: {0}")]
    Libav(#[from] libav::Error),
    /// There is no picture in the bytes.
    #[error("making a still: the bytes hold no picture")]
    NoPicture,
    /// This build of libav has no JPEG encoder.
    #[error("making a still: libav has no JPEG encoder")]
    NoEncoder,
}

/// Decodes the first picture of a small MP4 file and encodes it, at most `max_width` pixels wide.
///
/// # Errors
/// [`JpegError`].
pub fn keyframe_to_jpeg(file: &Path, max_width: u32) -> Result<Vec<u8>, JpegError> {
    static START: Once = Once::new();
    START.call_once(|| {
        // It fails only if it was done before.
        let _ = libav::init();
        libav::log::set_level(libav::log::Level::Fatal);
    });
    let picture = first_picture(file)?;
    let width = picture.width().min(max_width).max(2) & !1;
    let height = (u64::from(picture.height()) * u64::from(width) / u64::from(picture.width().max(1))) as u32;
    let scaled = scale(&picture, width, height.max(2) & !1)?;
    encode(&scaled)
}

fn first_picture(file: &Path) -> Result<Video, JpegError> {
    let mut input = libav::format::input(file)?;
    let stream = input
        .streams()
        .best(libav::media::Type::Video)
        .ok_or(JpegError::NoPicture)?;
    let index = stream.index();
    let mut decoder = context::Context::from_parameters(stream.parameters())?
        .decoder()
        .video()?;
    let mut picture = Video::empty();
    for (packet_stream, packet) in input.packets() {
        if packet_stream.index() == index {
            decoder.send_packet(&packet)?;
            if decoder.receive_frame(&mut picture).is_ok() {
                return Ok(picture);
            }
        }
    }
    decoder.send_eof()?;
    decoder
        .receive_frame(&mut picture)
        .map_err(|_| JpegError::NoPicture)?;
    Ok(picture)
}

fn scale(picture: &Video, width: u32, height: u32) -> Result<Video, JpegError> {
    let mut scaler = scaling::Context::get(
        picture.format(),
        picture.width(),
        picture.height(),
        Pixel::YUVJ420P,
        width,
        height,
        Flags::BILINEAR,
    )?;
    let mut scaled = Video::empty();
    scaler.run(picture, &mut scaled)?;
    Ok(scaled)
}

fn encode(picture: &Video) -> Result<Vec<u8>, JpegError> {
    let codec = encoder::find(Id::MJPEG).ok_or(JpegError::NoEncoder)?;
    let mut settings = context::Context::new_with_codec(codec).encoder().video()?;
    settings.set_width(picture.width());
    settings.set_height(picture.height());
    settings.set_format(Pixel::YUVJ420P);
    settings.set_time_base((1, 25));
    let mut options = libav::Dictionary::new();
    options.set("qmin", "3");
    options.set("qmax", "6");
    let mut encoder = settings.open_with(options)?;
    encoder.send_frame(picture)?;
    encoder.send_eof()?;
    let mut packet = libav::Packet::empty();
    encoder.receive_packet(&mut packet)?;
    packet.data().map(<[u8]>::to_vec).ok_or(JpegError::NoPicture)
}
