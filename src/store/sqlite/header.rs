//! Reads the header of an SQLite file without SQLite.

/// The length of the header.
pub(super) const BYTES: usize = 100;
/// The offset of `PRAGMA default_cache_size`, which holds the mark.
pub(super) const MARK_AT: usize = 48;

/// A big-endian number.
pub(super) fn number(bytes: &[u8]) -> u32 {
    bytes.iter().take(4).fold(0, |number, byte| number << 8 | u32::from(*byte))
}

/// A field of four bytes; 0 beyond the end.
pub(super) fn field(header: &[u8], at: usize) -> u32 {
    header.get(at..at + 4).map_or(0, number)
}

/// The page size in bytes.
pub(super) fn page_bytes(header: &[u8]) -> u64 {
    match header.get(16..18).map_or(0, number) {
        1 => 65_536,
        bytes => bytes.into(),
    }
}

/// The least expected size of a file that is shorter. Says nothing about a file that has a log.
pub(super) fn cut_off(header: &[u8], file_bytes: u64) -> Option<u64> {
    // Only programs that also keep these two fields equal maintain the number of pages.
    let is_kept = field(header, 24) == field(header, 92);
    let whole = u64::from(field(header, 28)) * page_bytes(header);
    (is_kept && file_bytes < whole).then_some(whole)
}
