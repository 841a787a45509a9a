//! PNG and JPEG decoding: the bytes of a file in; red, green and blue out, as PIL's `convert("RGB")` gives them,
//! rotated by the camera's orientation tag.

use std::io::Cursor;

use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bit_depth::BitDepth;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;
use zune_png::PngDecoder;

use super::Image;
use super::panic_guard::catch_panic;

/// Pixels that an image may have, as in PIL.
const PIXELS: usize = 178_956_970;

/// Signatures of files of other kinds: offset, bytes, kind.
const OTHERS: [(usize, &[u8], &str); 9] = [
    (8, b"WEBP", "WebP"),
    (0, b"GIF8", "GIF"),
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIF"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"version https://git-lfs", "Git LFS pointer"),
];

/// The pixels of a PNG or JPEG file; transparency is ignored.
///
/// # Errors
/// The reason for which it cannot be decoded.
pub(super) fn decode(bytes: &[u8]) -> Result<Image, String> {
    let (pixels, [height, width], orientation) = if bytes.starts_with(b"\x89PNG") {
        catch_panic(|| png(bytes)).flatten()?
    } else if bytes.starts_with(b"\xff\xd8") {
        catch_panic(|| jpeg(bytes)).flatten()?
    } else {
        let other = OTHERS.iter().find(|(at, magic, _)| bytes.get(*at..).is_some_and(|rest| rest.starts_with(magic)));
        return Err(match other {
            Some((_, _, kind)) => format!("it is a {kind}, PNG and JPEG are read"),
            None => "it is no PNG and no JPEG".into(),
        });
    };
    let colours = pixels.len().checked_div(width * height).unwrap_or(0);
    if colours == 0 {
        return Err(format!("it has {width} x {height} pixels"));
    }
    // One or two values a pixel: grey, without or with transparency.
    let of = |colour: usize| if colours < 3 { 0 } else { colour };
    let plane = |colour: usize| pixels.chunks_exact(colours).map(move |pixel| pixel[of(colour)]);
    let values = (0..3).flat_map(plane).collect();
    Ok(turned(Image { channels: 3, height, width, values }, orientation))
}

/// Values of all pixels, height and width, and the Exif orientation.
type Decoded = (Vec<u8>, [usize; 2], u16);

fn checked(size: Option<(usize, usize)>) -> Result<[usize; 2], String> {
    let (width, height) = size.unwrap_or_default();
    match width.saturating_mul(height) {
        pixels if pixels > PIXELS => Err(format!("it has {width} x {height} pixels, the limit is {PIXELS} pixels")),
        _ => Ok([height, width]),
    }
}

fn png(bytes: &[u8]) -> Result<Decoded, String> {
    let options = DecoderOptions::default().png_set_strip_to_8bit(true);
    let options = options.set_max_width(PIXELS).set_max_height(PIXELS);
    let mut decoder = PngDecoder::new_with_options(Cursor::new(bytes), options);
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let size = checked(decoder.dimensions())?;
    if decoder.depth() == Some(BitDepth::Sixteen) && decoder.colorspace() == Some(ColorSpace::Luma) {
        return Err("it has 16 bits of gray, which PIL cuts at 255; write it with 8 bits".into());
    }
    let orientation = decoder.info().and_then(|info| info.exif.as_deref()).map_or(1, orientation);
    Ok((decoder.decode_raw().map_err(|error| error.to_string())?, size, orientation))
}

fn jpeg(bytes: &[u8]) -> Result<Decoded, String> {
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder =
        JpegDecoder::new_with_options(Cursor::new(bytes), options.set_max_width(1 << 16).set_max_height(1 << 16));
    decoder.decode_headers().map_err(|error| error.to_string())?;
    let size = checked(decoder.dimensions())?;
    let pixels = decoder.decode().map_err(|error| error.to_string())?;
    Ok((pixels, size, decoder.exif().map_or(1, |exif| orientation(exif))))
}

/// The Exif orientation tag; 1 where there is none.
fn orientation(exif: &[u8]) -> u16 {
    let exif = exif.strip_prefix(b"Exif\0\0").unwrap_or(exif);
    let little = exif.starts_with(b"II");
    let short = |at: usize| {
        let bytes = exif.get(at..)?.first_chunk::<2>()?;
        Some(if little { u16::from_le_bytes(*bytes) } else { u16::from_be_bytes(*bytes) })
    };
    let found = || {
        let bytes = exif.get(4..)?.first_chunk::<4>()?;
        let tags = if little { u32::from_le_bytes(*bytes) } else { u32::from_be_bytes(*bytes) } as usize;
        let entries = (0..usize::from(short(tags)?)).map(|entry| tags + 2 + 12 * entry);
        entries.into_iter().find(|entry| short(*entry) == Some(0x0112)).and_then(|entry| short(entry + 8))
    };
    found().unwrap_or(1)
}

/// The image rotated and mirrored by its orientation.
fn turned(image: Image, orientation: u16) -> Image {
    let Image { channels, height, width, values } = image;
    // From a position in the rotated image to that in the stored one.
    let stored = |row: usize, column: usize| match orientation {
        2 => (row, width - 1 - column),
        3 => (height - 1 - row, width - 1 - column),
        4 => (height - 1 - row, column),
        5 => (column, row),
        6 => (height - 1 - column, row),
        7 => (height - 1 - column, width - 1 - row),
        8 => (column, width - 1 - row),
        _ => (row, column),
    };
    if !(2..=8).contains(&orientation) {
        return Image { channels, height, width, values };
    }
    let (tall, wide) = if orientation > 4 { (width, height) } else { (height, width) };
    let mut turned = Vec::with_capacity(values.len());
    for plane in values.chunks_exact(height * width) {
        for row in 0..tall {
            turned.extend((0..wide).map(|column| {
                let (row, column) = stored(row, column);
                plane[row * width + column]
            }));
        }
    }
    Image { channels, height: tall, width: wide, values: turned }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_turned_as_the_camera_was_held() {
        let image = || Image { channels: 1, height: 2, width: 3, values: vec![1, 2, 3, 4, 5, 6] };
        let of = |orientation| {
            let turned = turned(image(), orientation);
            (turned.height, turned.width, turned.values)
        };
        assert_eq!(of(1), (2, 3, vec![1, 2, 3, 4, 5, 6]));
        assert_eq!(of(2), (2, 3, vec![3, 2, 1, 6, 5, 4]));
        assert_eq!(of(3), (2, 3, vec![6, 5, 4, 3, 2, 1]));
        assert_eq!(of(4), (2, 3, vec![4, 5, 6, 1, 2, 3]));
        assert_eq!(of(5), (3, 2, vec![1, 4, 2, 5, 3, 6]));
        assert_eq!(of(6), (3, 2, vec![4, 1, 5, 2, 6, 3]));
        assert_eq!(of(7), (3, 2, vec![6, 3, 5, 2, 4, 1]));
        assert_eq!(of(8), (3, 2, vec![3, 6, 2, 5, 1, 4]));
        assert_eq!(of(9), of(1));
    }

    #[test]
    fn what_is_no_png_and_no_jpeg_is_called_what_it_is() {
        assert_eq!(decode(b"RIFF\0\0\0\0WEBPVP8 ").unwrap_err(), "it is a WebP, PNG and JPEG are read");
        assert_eq!(decode(b"GIF89a").unwrap_err(), "it is a GIF, PNG and JPEG are read");
        assert_eq!(decode(b"hello").unwrap_err(), "it is no PNG and no JPEG");
        let mut bomb = include_bytes!("image_samples/two.png").to_vec();
        bomb[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]);
        let error = decode(&bomb).unwrap_err();
        assert!(error.contains("CRC") || error.contains("65536 x 65536 pixels, the limit is 178956970"), "{error}");
    }
}
