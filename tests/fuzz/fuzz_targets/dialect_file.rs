//! Dialect files: any text is a dialect, or an error with its place in the text. Reading one renders its templates.

#![no_main]

use libfuzzer_sys::fuzz_target;
use longrun::dialect::Dialect;

fuzz_target!(|text: &str| {
    if let Err(error) = Dialect::parse(text) {
        assert!(error.line >= 1 && error.line <= text.matches('\n').count() + 1, "{error}");
        assert!(error.column != Some(0), "{error}");
        assert!(!error.reason.is_empty());
    }
});
