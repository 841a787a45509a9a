//! The data that the program carries: speeches of 24 Shakespeare roles (`bundled/README.md` says whence and how chosen).

/// What errors and reports call the bundled data.
pub const NAME: &str = "bundled speeches";

/// The bundled records: gzip of JSON lines with the fields `play`, `role` and `text`.
pub fn bundled_speeches() -> &'static [u8] {
    include_bytes!("bundled/speeches.jsonl.gz")
}
