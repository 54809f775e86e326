//! The token of calls.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tonic::metadata::{Ascii, MetadataValue};

/// Longer than any JWT that servers accept.
const MAX_TOKEN_BYTES: usize = 16 << 10;

/// The token of calls. Cheap to clone; `Debug` does not show it.
#[derive(Clone)]
pub(super) enum Token {
    /// The same token for each call.
    Given(MetadataValue<Ascii>),
    /// Read for each call.
    InFile(Arc<Path>),
}

impl Token {
    pub(super) fn given(text: &str) -> Result<Self, String> {
        field(text).map(Self::Given).map_err(|rule| format!("the token {rule}"))
    }

    /// Fails unless the file exists and has a token.
    pub(super) fn in_file(path: PathBuf) -> Result<Self, String> {
        read(&path)?;
        Ok(Self::InFile(path.into()))
    }

    /// The header value for the next call.
    pub(super) fn field(&self) -> Result<MetadataValue<Ascii>, String> {
        match self {
            Self::Given(field) => Ok(field.clone()),
            Self::InFile(path) => read(path),
        }
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(_) => f.write_str("Given(…)"),
            Self::InFile(path) => f.debug_tuple("InFile").field(path).finish(),
        }
    }
}

fn read(path: &Path) -> Result<MetadataValue<Ascii>, String> {
    let failed = |rule: &dyn fmt::Display| format!("the token file {}: {rule}", path.display());
    let mut text = String::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(MAX_TOKEN_BYTES as u64 + 2).read_to_string(&mut text));
    read.map_err(|error| failed(&format!("cannot be read: {error}")))?;
    field(text.trim()).map_err(|rule| failed(&rule))
}

fn field(token: &str) -> Result<MetadataValue<Ascii>, &'static str> {
    const RULE: &str = "must be 1 to 16384 visible ASCII characters";
    let is_visible = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_visible || token.len() > MAX_TOKEN_BYTES {
        return Err(RULE);
    }
    let mut field: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| RULE)?;
    field.set_sensitive(true);
    Ok(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_checked_and_not_shown() {
        for wrong in ["", "a b", "a\n", "ü", &"a".repeat(MAX_TOKEN_BYTES + 1)] {
            let error = Token::given(wrong).unwrap_err();
            assert!(error.starts_with("the token must be"), "{error}");
        }
        let token = Token::given("marked").unwrap();
        assert_eq!(token.field().unwrap().to_str().unwrap(), "Bearer marked");
        let shown = format!("{token:?} {:?}", token.field().unwrap());
        assert!(!shown.contains("marked"), "{shown}");
    }

    #[test]
    fn a_file_is_read_for_each_call() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_owned();
        assert!(Token::in_file(path.clone()).is_err());
        std::fs::write(&path, "one\n").unwrap();
        let token = Token::in_file(path.clone()).unwrap();
        assert_eq!(token.field().unwrap().to_str().unwrap(), "Bearer one");
        std::fs::write(&path, "two").unwrap();
        assert_eq!(token.field().unwrap().to_str().unwrap(), "Bearer two");
        drop(file);
        let error = token.field().unwrap_err();
        assert!(error.contains(&path.display().to_string()), "{error}");
    }
}
