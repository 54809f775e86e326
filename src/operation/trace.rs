//! The submitter's W3C Trace Context: stored with the operation, not interpreted here.

use std::sync::Arc;

/// The maximum length of a stored `tracestate`, in bytes, as recommended.
const MAX_STATE_BYTES: usize = 512;
/// The length of a `traceparent` of version 00.
const PARENT_BYTES: usize = 55;

/// A `traceparent` and its `tracestate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// For example `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`.
    pub parent: Arc<str>,
    /// The vendors' data; may be empty.
    pub state: Arc<str>,
}

impl TraceContext {
    /// Parses the two fields. As the recommendation says, there is no context without a valid `traceparent`, and a
    /// `tracestate` that is too long or not text is dropped.
    pub fn parse(parent: &str, state: &str) -> Option<Self> {
        let parent = parent.trim();
        let is_hex = |text: &str| {
            text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let fields: Vec<&str> = parent.get(..PARENT_BYTES)?.split('-').collect();
        let [version, trace, span, flags] = fields.as_slice() else { return None };
        let lengths = [version.len(), trace.len(), span.len(), flags.len()] == [2, 32, 16, 2];
        let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let is_sound = lengths && fields.iter().all(|field| is_hex(field));
        // Later versions may append fields; these four stay as they are.
        let is_known = match *version {
            "00" => parent.len() == PARENT_BYTES,
            "ff" => false,
            _ => parent.len() == PARENT_BYTES || parent.as_bytes().get(PARENT_BYTES) == Some(&b'-'),
        };
        if !is_sound || !is_known || is_zero(trace) || is_zero(span) {
            return None;
        }
        let state = state.trim();
        let is_kept = state.len() <= MAX_STATE_BYTES
            && state.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte));
        let parent = fields.join("-").into();
        Some(Self { parent, state: if is_kept { state.into() } else { Arc::default() } })
    }

    /// The trace's id, for example `4bf92f3577b34da6a3ce929d0e0e4736`.
    pub fn trace_id(&self) -> &str {
        self.parent.split('-').nth(1).unwrap_or_default()
    }
}

/// The place of a trace's id in the URL of a viewer.
pub const TRACE_ID: &str = "{trace_id}";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_context_is_kept_where_it_is_sound() {
        let kept = TraceContext::parse(PARENT, " congo=t61rcWkgMzE ").unwrap();
        assert_eq!((&*kept.parent, &*kept.state), (PARENT, "congo=t61rcWkgMzE"));
        assert_eq!(kept.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = PARENT.replacen("00", "01", 1);
        assert_eq!(&*TraceContext::parse(&format!("{later}-more"), "").unwrap().parent, later);
        let long = "x".repeat(MAX_STATE_BYTES + 1);
        assert_eq!(&*TraceContext::parse(PARENT, &long).unwrap().state, "");
    }

    #[test]
    fn one_that_is_not_is_none() {
        for wrong in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b71-01",
            "00_4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7_01",
            "00-4bf92f3577b34da6a3ce929d0e0e47é6-00f067aa0ba902b7-0",
        ] {
            assert_eq!(TraceContext::parse(wrong, ""), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_fields_are_a_sound_context_or_none(
            parent in prop_oneof![any::<String>(), "[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-.{0,6}"],
            state in any::<String>(),
        ) {
            if let Some(context) = TraceContext::parse(&parent, &state) {
                prop_assert_eq!(context.parent.len(), PARENT_BYTES);
                prop_assert!(context.state.len() <= MAX_STATE_BYTES);
                prop_assert_eq!(TraceContext::parse(&context.parent, &context.state), Some(context));
            }
        }
    }
}
