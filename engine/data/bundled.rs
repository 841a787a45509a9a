//! The bundled data: speeches of 24 Shakespeare roles (`bundled/README.md` tells their source and selection).

/// The name of the bundled data in errors and reports.
pub const NAME: &str = "bundled speeches";

/// The bundled records: gzip of JSON lines with the fields `play`, `role` and `text`.
pub fn bundled_speeches() -> &'static [u8] {
    include_bytes!("bundled/speeches.jsonl.gz")
}
