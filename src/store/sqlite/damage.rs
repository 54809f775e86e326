//! Damage that SQLite would pass over: a file that was cut off. (`log` finds a log with a hole.)

use super::log::number;

/// What is wrong with a file that has no log, if its length and its first page can tell.
pub(super) fn find(file_bytes: u64, first_page: &[u8]) -> Option<String> {
    let field = |at: usize| first_page.get(at..at + 4).map_or(0, number);
    let page_bytes = page_bytes(first_page);
    // The number of pages is only kept by programs that also keep these two the same.
    let is_kept = field(24) == field(92);
    let whole = u64::from(field(28)) * page_bytes;
    let is_cut_off = is_kept && file_bytes < whole;
    is_cut_off.then(|| format!("it is cut off: of {whole} bytes it has {file_bytes}"))
}

/// The size of pages, by the file's header.
pub(super) fn page_bytes(header: &[u8]) -> u64 {
    match header.get(16..18).map_or(0, |bytes| number(bytes)) {
        1 => 65_536,
        bytes => bytes.into(),
    }
}
