//! The written form of ids: a pure function of the operation's id, and back.

use crate::operation::OperationId;

/// The written form of ids in paths and documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Naming {
    before: String,
    form: Form,
    after: String,
}

/// The written form of an id's 128 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// With hyphens, as everywhere else.
    Uuid,
    /// As 32 hexadecimal digits.
    Hex,
    /// As a decimal number.
    Decimal,
}

/// The rule for `id`; continues "must be".
pub(super) const RULE: &str = "\"uuid\", \"hex\", \"decimal\", or a text such as \"job-{hex}\" of letters, digits, '-', \
                               '.', '_' and '~' with one of {uuid}, {hex} and {decimal}";

impl Naming {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some(form) = Form::parse(text) {
            return Some(Self { before: String::new(), form, after: String::new() });
        }
        let (before, rest) = text.split_once('{')?;
        let (form, after) = rest.split_once('}')?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        let is_plain = text.len() <= 64 && before.bytes().chain(after.bytes()).all(plain);
        let form = Form::parse(form).filter(|_| is_plain)?;
        Some(Self { before: before.to_owned(), form, after: after.to_owned() })
    }

    pub(super) fn write(&self, id: OperationId) -> String {
        format!("{}{}{}", self.before, self.form.write(id), self.after)
    }

    /// Parses an id in exactly this form, so that an operation has one path.
    pub(super) fn read(&self, text: &str) -> Option<OperationId> {
        let bare = text.strip_prefix(self.before.as_str())?.strip_suffix(self.after.as_str())?;
        let bits = match self.form {
            Form::Uuid | Form::Hex => uuid::Uuid::try_parse(bare).ok()?.as_u128(),
            Form::Decimal => bare.parse().ok()?,
        };
        let id = OperationId::from_bytes(bits.to_be_bytes());
        (self.write(id) == text).then_some(id)
    }
}

impl Form {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "uuid" => Some(Self::Uuid),
            "hex" => Some(Self::Hex),
            "decimal" => Some(Self::Decimal),
            _ => None,
        }
    }

    pub(super) fn write(self, id: OperationId) -> String {
        let uuid = uuid::Uuid::from_bytes(*id.as_bytes());
        match self {
            Self::Uuid => uuid.as_hyphenated().to_string(),
            Self::Hex => uuid.as_simple().to_string(),
            Self::Decimal => uuid.as_u128().to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_form_and_is_read_in_no_other() {
        let id = OperationId::from_bytes([1; 16]);
        for (naming, text) in [
            ("uuid", "01010101-0101-0101-0101-010101010101"),
            ("hex", "01010101010101010101010101010101"),
            ("decimal", "1334440654591915542993625911497130241"),
            ("resp_{hex}", "resp_01010101010101010101010101010101"),
            ("{decimal}.x", "1334440654591915542993625911497130241.x"),
        ] {
            let naming = Naming::parse(naming).unwrap();
            assert_eq!(naming.write(id), text);
            assert_eq!(naming.read(text), Some(id));
            for other in [format!("0{text}"), format!("+{text}"), format!("{text}1"), String::new()]
            {
                assert_ne!(naming.read(&other), Some(id), "{other}");
            }
        }
        for bad in ["", "UUID", "x", "{id}", "{hex}{hex}", "a/{hex}", "a b{hex}", "{hex"] {
            assert_eq!(Naming::parse(bad), None, "{bad}");
        }
    }
}
